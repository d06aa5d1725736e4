"""Runs inside the throw-away sandbox: everything that parses bytes of unknown origin. Standard library and `filetype`."""
