"""Signing in and out. The demo's sign-in asks for no password, so it answers this machine alone."""
