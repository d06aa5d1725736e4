"""People and what they are to the whole platform."""
