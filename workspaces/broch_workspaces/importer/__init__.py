"""Puts one delivery into a zone's `/imports`, or takes it out again; runs in a pod of that zone and then ends."""
