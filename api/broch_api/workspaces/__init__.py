"""Workspaces: opening, stopping, what one is given, and keeping rows and hub alike."""
