"""The freeze of the whole TRE: one action that stops workspaces, downloads and releases everywhere, and its undo."""
