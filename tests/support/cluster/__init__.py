"""A Kubernetes cluster for tests: brought up, entered, given images and what lies outside of it."""
