"""Who allows what zones may fetch from outside: packages by name, version and digest, and nominated addresses."""
