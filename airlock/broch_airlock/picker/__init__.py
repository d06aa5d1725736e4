"""Choosing files of one's own zone for an egress draft, without a workspace running."""
