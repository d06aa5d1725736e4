"""The demo's sign-in. It asks for no password, so it answers this machine alone, and images for clusters lack it."""
