"""The store: units of work on SQLite or PostgreSQL, with an audit record in every change."""
