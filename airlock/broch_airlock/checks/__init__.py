"""The airlock's checks: a supervisor that parses nothing, a throw-away sandbox that does, and clamd (docs/checks.md)."""
