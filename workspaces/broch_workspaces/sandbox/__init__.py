"""One sandbox on this machine: bubblewrap, seccomp, limits; and the safe way to read what a sandbox wrote.

Used twice: for workspaces (`broch_spawner`) and for the throw-away sandboxes of airlock checks (`broch_airlock`).
"""
