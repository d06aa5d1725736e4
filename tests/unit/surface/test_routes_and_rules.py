"""Routes name actions, actions have rules, rules are used."""

import re
from pathlib import Path

import broch.instance
from broch_core.actions import Action
from broch_core.rules import RULES, SERVICE_ACTIONS, UNGUARDED
from broch_core.web.routing import ROUTES

assert broch.instance  # its imports register every route
ROOT = Path(__file__).parents[3]


def test_every_route_has_an_action_that_somebody_guards() -> None:
    assert len(ROUTES) > 100
    assert {route.action for route in ROUTES} <= RULES.keys() | UNGUARDED | SERVICE_ACTIONS


def test_every_action_is_guarded_in_one_way() -> None:
    assert set(Action) == RULES.keys() | UNGUARDED | SERVICE_ACTIONS
    assert not RULES.keys() & (UNGUARDED | SERVICE_ACTIONS)
    assert not UNGUARDED & SERVICE_ACTIONS


def test_every_action_is_the_action_of_a_route() -> None:
    assert set(Action) - {route.action for route in ROUTES} == set()


def test_no_route_is_registered_twice() -> None:
    """Two routes that answer the same address: the second would never be reached."""
    shapes = [(route.method, route.kind, re.sub(r"{[^}]*}", "{}", route.path)) for route in ROUTES]
    assert len(shapes) == len(set(shapes))


def test_no_route_is_registered_around_the_router() -> None:
    """FastAPI's own decorators would make a route without an action; the viewer alone, without sessions, has one."""
    found = {
        str(path.relative_to(ROOT))
        for package in ("api", "airlock")
        for path in (ROOT / package).rglob("*.py")
        if re.search(
            r"@app\.(get|post|put|patch|delete|api_route)|\.add_api_route\(|APIRouter\(", path.read_text()
        )
    }
    assert found == {"api/broch_core/web/routing.py", "airlock/broch_airlock/viewer/app.py"}
