"""Zones of a cluster, from the control plane's side: what each shall be, and what the controller says it is."""
