"""The first page: what this person can do next."""
