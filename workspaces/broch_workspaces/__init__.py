"""Zones and workspaces: what a workspace is given (plan) and what holds it (sandbox)."""
