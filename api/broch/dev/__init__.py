"""What a developer runs from a checkout: environment, tests, lint, benchmarks, locks.

`./broch` dispatches here. Nothing in this package is imported by the services.
"""
