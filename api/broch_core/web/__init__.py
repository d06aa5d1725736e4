"""The web shell that control plane and airlock share: routing by action, sessions, problem details, pages."""
