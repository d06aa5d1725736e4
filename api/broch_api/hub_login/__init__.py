"""The OAuth 2.0 authorisation server of one client: the hub."""
