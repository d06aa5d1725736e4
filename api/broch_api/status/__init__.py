"""Is everything that work needs there? For machines (`/healthz`, `/readyz`, `/metrics`) and for people (`/status`)."""
