"""Retention: when bytes of requests that have come to rest are deleted, and the certificate that says so."""
