"""The `broch` command: a module per noun, loaded when it is asked for."""
