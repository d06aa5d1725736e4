"""What runs in a sandbox's pod: `carry` speaks to the broker, `look` runs the module that reads what strangers wrote.

Two containers, because one would hold what the module must not have: `carry` has the connection, its token and the
inputs to write; `look` sees the inputs on a read-only mount, no other process, and one socket that is used up.
"""
