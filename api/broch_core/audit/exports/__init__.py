"""Copies of the log at a place that Broch's administrators do not control: records and signed checkpoints, added only.

A place holds `records/<first>-<end>.jsonl` (leaves, one a line, byte for byte as they were hashed) and
`checkpoints/<end>.txt` (the signed note over everything before `end`), numbers in 12 digits. Nothing there is ever
changed: the records come first, the checkpoint makes them count, and a run that was broken off is simply done again.
"""
