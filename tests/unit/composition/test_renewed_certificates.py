"""Certificates are renewed while services run: whoever makes a context of one says how it is kept current."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]
MAKERS, KEEPERS = {"client_context", "server_context"}, {"Renewed", "keep_renewed"}
EACH_CALL = {"spawner/broch_spawner/endpoint.py"}
"""Makes a fresh context each time that it connects."""


def names(source: str) -> set[str]:
    """Return every name that is used in a source, imports apart."""
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}


def test_every_context_of_a_certificate_is_kept_current() -> None:
    makers = {}
    for package in ("airlock", "api", "spawner", "workspaces"):
        for path in (ROOT / package).rglob("*.py"):
            if (used := names(path.read_text(encoding="utf-8"))) & MAKERS:
                makers[str(path.relative_to(ROOT))] = used
    assert len(makers) >= 8
    careless = {path for path, used in makers.items() if not used & KEEPERS}
    assert careless == EACH_CALL
