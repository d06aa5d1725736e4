"""Who may send packets to whom in a zone: nobody, but the proxy to notebooks, and pods to the gateway."""

from __future__ import annotations

from typing import Any

from broch_workspaces.cluster.settings import GATEWAY_PORT, NOTEBOOK_PORT, ZoneSettings
from broch_workspaces.cluster.spec import ROLE_LABEL

API = "networking.k8s.io/v1"


def _pods_of(settings: ZoneSettings, component: str) -> dict[str, Any]:
    # One entry with both selectors: two entries would mean "or", and any pod of the namespace would do.
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.release_namespace}},
        "podSelector": {"matchLabels": settings.component_labels(component)},
    }


def network_policies(settings: ZoneSettings) -> list[tuple[str, dict[str, Any]]]:
    """Return name and spec of a zone's policies. There is no rule for DNS: a resolver is a way out."""
    return [
        ("deny", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
        (
            "from-proxy",
            {
                "podSelector": {"matchLabels": {ROLE_LABEL: "workspace"}},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {
                        "from": [_pods_of(settings, "hub")],
                        "ports": [{"port": NOTEBOOK_PORT, "protocol": "TCP"}],
                    }
                ],
            },
        ),
        (
            "to-gateway",
            {
                "podSelector": {
                    "matchExpressions": [
                        {"key": ROLE_LABEL, "operator": "In", "values": ["importer", "workspace"]}
                    ]
                },
                "policyTypes": ["Egress"],
                "egress": [
                    {
                        "to": [_pods_of(settings, "gateway")],
                        "ports": [{"port": GATEWAY_PORT, "protocol": "TCP"}],
                    }
                ],
            },
        ),
    ]
