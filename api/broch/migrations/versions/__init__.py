"""Versions of the schema, in order. One that was released never changes."""
