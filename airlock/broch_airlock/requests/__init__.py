"""Airlock requests from their draft to their submission, and what people see of them afterwards."""
