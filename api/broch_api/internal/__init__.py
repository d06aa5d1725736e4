"""The internal API, for the hub alone, on a unix socket."""
