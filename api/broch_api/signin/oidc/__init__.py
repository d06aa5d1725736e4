"""Signing in by an OpenID provider (OpenID Connect Core 1.0): code, PKCE, state, nonce, and a second factor."""
