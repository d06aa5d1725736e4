"""Projects, their life cycle and their members."""
