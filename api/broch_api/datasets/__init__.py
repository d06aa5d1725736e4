"""Datasets, their immutable versions, grants to projects and permissions to export."""
