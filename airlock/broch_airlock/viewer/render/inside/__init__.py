"""What runs inside the sandbox of the renderer: parses one file and returns bounded data, never HTML."""
