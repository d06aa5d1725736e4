"""Zones on Kubernetes: what a zone is (pure), who makes it (the controller), and what runs in it."""
