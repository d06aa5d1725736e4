"""Every route, called as everybody in every state: what comes back is `docs/matrix.txt`, and some things never come."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from broch_core.rules import SERVICE_ACTIONS, UNGUARDED
from broch_core.web.routing import Kind, NamedRoute
from support.surface import Answer, Surface, unknown
from support.surface_calls import call, recipe_of, states_of
from support.surface_matrix import Observed, decided_text, observe, observed_text, sorted_routes
from support.surface_world import ACTORS

MATRIX = Path(__file__).parents[3] / "docs" / "matrix.txt"
Found = dict[NamedRoute, list[Observed]]
_NEVER_HERE = {
    "/readyz": "hub and scanner are away in these tests",
    "/sign-in/back-channel-logout": "no OpenID provider is set: test_oidc_logout.py",
    "/sign-in/callback": "no OpenID provider is set: test_oidc_journey.py",
    "/internal/v1/package-denials": "one machine has no package route: test_route.py",
    "/internal/v1/package-fetches": "one machine has no package route: test_route.py",
    "/internal/v1/package-lists": "one machine has no package route: test_route.py",
    "/internal/v1/zones": "one machine has no controller: test_zone_routes.py",
    "/internal/v1/zones/{project_id}/report": "one machine has no controller: test_zone_routes.py",
}
_INSIDERS = {"author", "member"}
_KNOWN = {
    "project": _INSIDERS | {"admin"},
    "membership": _INSIDERS | {"admin"},
    "package": _INSIDERS | {"admin"},
    "resource": _INSIDERS | {"admin"},
    "zone": _INSIDERS,
    "workspace": {"author", "member", "admin"},
    "shared": _INSIDERS | {"admin"},
    "request": _INSIDERS | {"reviewer", "exmember"},
    "release": _INSIDERS | {"admin"},
    "ingress": _INSIDERS | {"reviewer", "exmember"},
    "upload": _INSIDERS,
    "grant": _INSIDERS | {"owner", "admin"},
    "permission": _INSIDERS | {"owner", "admin"},
    "dataset": {*ACTORS} - {"nobody", "hub", "door"},
    "version": {*ACTORS} - {"nobody", "hub", "door"},
    "giving": {*ACTORS} - {"nobody", "hub", "door"},
    "record": {"admin"},
}
"""Axis -> who may know that the thing exists; reviewers only of requests that were submitted."""


@pytest.fixture(scope="module")
def found(surface_once: Surface) -> Found:
    """Call everything once; no call that was refused, and none that only reads, may leave a trace."""
    missing = [f"{route.method} {route.path}" for route in sorted_routes() if recipe_of(route) is None]
    assert missing == [], "say in support/surface_calls.py how they are called"
    surface_once.put_back()
    kept = surface_once.digest(), surface_once.bytes_kept()
    seen: Found = {}
    for route in sorted_routes():
        seen[route] = list(observe(surface_once, route))
        now = surface_once.digest()
        assert [name for name in now if now[name] != kept[0][name]] == [], route
        assert surface_once.bytes_kept() == kept[1], route
    return seen


def test_the_matrix_of_routes_and_actors_is_the_committed_one(
    found: Found, request: pytest.FixtureRequest
) -> None:
    text = observed_text(found) + "\n" + decided_text()
    if request.config.getoption("--update-matrix"):
        MATRIX.write_text(text, encoding="utf-8")
    assert text == MATRIX.read_text(encoding="utf-8"), "run it with --update-matrix and judge the difference"


def test_no_call_meets_a_defect(found: Found) -> None:
    assert not [
        (one.route, one.state, one.who, one.answer.status, one.answer.defect)
        for calls in found.values()
        for one in calls
        if one.answer.defect or (one.answer.status >= 500 and one.route.path not in _NEVER_HERE)
    ]


def test_every_route_can_be_used_by_somebody(found: Found) -> None:
    assert [
        route.path for route, calls in found.items() if not any(one.answer.status < 400 for one in calls)
    ] == list(_NEVER_HERE)


def test_no_guarded_route_lets_an_anonymous_caller_in(found: Found) -> None:
    guarded = {route: calls for route, calls in found.items() if route.action not in UNGUARDED}
    assert len(guarded) > 100
    for route, calls in guarded.items():
        cells = {one.cell for one in calls if one.who == "nobody"}
        assert cells == ({"sign-in"} if route.kind is Kind.PAGE else {"401"}), route


def test_tokens_of_services_and_of_people_open_only_their_own_doors(found: Found) -> None:
    for route, calls in found.items():
        if route.action in UNGUARDED:
            continue
        service = "door" if route.path.startswith("/door") else "hub"
        inside = {service} if route.action in SERVICE_ACTIONS else {*ACTORS} - {"nobody", "hub", "door"}
        for one in calls:
            assert (one.cell in {"401", "sign-in"}) == (one.who not in inside) or one.cell == "401", one


def test_internal_routes_are_not_on_the_listener_of_browsers(surface: Surface) -> None:
    for route in sorted_routes():
        if route.kind is Kind.SERVICE:
            target = route.path.replace("{principal}", "w" + "a" * 25).replace("{", "").replace("}", "")
            token = surface.visitors["hub"].bearer
            answer = surface.ask(route.method, target, [("authorization", f"Bearer {token}")])
            assert answer.status == 404, route


def _masked(answer: Answer, *ids: object) -> tuple[int, list[tuple[str, str]], str]:
    """Return an answer without what must differ: the request's id, and ids that the caller gave."""
    given = [str(one) for one in ids if isinstance(one, str) and len(one) == 26]

    def clean(text: str) -> str:
        for one in (answer.header("x-request-id") or "-no-", *given):
            text = text.replace(one, "ID")
        return re.sub(r'<footer class="foot">.*?</footer>', "", text)  # it says what time it is

    return answer.status, [(k, clean(v)) for k, v in answer.headers if k != "set-cookie"], clean(answer.text)


def _may_know(one: Observed, axis: str) -> bool:
    if one.who in {"reviewer", "exmember"} and axis in {"request", "ingress"}:
        return one.state != "draft"
    return one.who in _KNOWN[axis]


def test_what_one_may_not_see_looks_like_what_does_not_exist(surface: Surface, found: Found) -> None:
    compared, told_apart = 0, 0
    for route, calls in found.items():
        recipe = recipe_of(route)
        if recipe is None or recipe.axis not in _KNOWN or route.action in UNGUARDED | SERVICE_ACTIONS:
            continue
        absent = unknown(next(iter(states_of(surface, route, recipe).values())))
        for who in ACTORS:
            answer = call(surface, route, recipe, surface.visitors[who], absent)
            if answer.status < 400:
                surface.put_back()
            nothing = _masked(answer, *absent.values())
            for one in calls:
                if one.who != who:
                    continue
                there = _masked(one.answer, *one.thing.values())
                if _may_know(one, recipe.axis):
                    told_apart += there != nothing
                else:
                    compared += 1
                    assert there == nothing, (route, one.state, who)
    assert compared > 1000
    assert told_apart > 500  # were everything alike, the comparison would say nothing


def test_a_thing_below_another_parent_does_not_exist_there(surface: Surface) -> None:
    """Somebody's own request with a file of another project's is a request without that file."""
    foreign = surface.things["foreign"][""]
    other = {"file_id": foreign["file_id"]}
    other["membership_id"] = surface.things["project"]["frozen"]["membership_id"]
    other["version_id"] = surface.things["giving"][""]["other_version_id"]
    other["grant_id"] = surface.things["giving"][""]["free_grant_id"]
    other["permission_id"] = surface.things["giving"][""]["free_permission_id"]
    other["resource_id"] = foreign["resource_id"]
    tried = 0
    for route in sorted_routes():
        recipe = recipe_of(route)
        if recipe is None or route.path.count("{") < 2 or route.kind is Kind.SERVICE:
            continue
        child = next((name for name in other if route.path.find(f"{{{name}}}") > route.path.find("{")), None)
        if child is None:
            continue
        for thing in list(states_of(surface, route, recipe).values())[:2]:
            wrong, absent = {**thing, child: other[child]}, {**thing, child: unknown({child: ""})[child]}
            for who in ("author", "member", "reviewer", "steward", "owner", "admin"):
                visitor = surface.visitors[who]
                there, nothing = (call(surface, route, recipe, visitor, one) for one in (wrong, absent))
                assert _masked(there, *wrong.values()) == _masked(nothing, *absent.values()), (route, who)
                assert there.status >= 400, (route, who)
                tried += 1
    assert tried > 100
