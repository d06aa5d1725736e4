"""Signing in and out. How people sign in is one of several ways, chosen when Broch starts (`ways.py`)."""
