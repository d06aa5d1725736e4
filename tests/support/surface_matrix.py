"""The matrix of routes, actors and states, as observed and as decided; `docs/matrix.txt` is its text."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from broch_core.actions import Action
from broch_core.actors import Actor, PlatformRole, ProjectRole
from broch_core.rules import RULES, Resource, decide
from broch_core.web.pages import FLASH_COOKIE
from broch_core.web.routing import ROUTES, NamedRoute
from support.surface import Answer, Surface, same_place
from support.surface_calls import Thing, call, recipe_of, states_of
from support.surface_world import ACTORS

WIDTH = 9
READS_THAT_WRITE = frozenset(
    {"/oauth/authorize", "/oauth/userinfo", "/internal/v1/spawn-plans/{principal}", "/api/v1/audit/export"}
)
"""They leave a code, spend a token, give a door token, or are recorded."""
_REFUSED_BY = ("warn", "bad")
HEAD = """\
# Who may do what, as observed and as decided. Generated: `./broch test integration -k matrix -- --update-matrix`.
#
# Part 1: each route is called for real by each actor on a thing in each state; the cell is the status. The actors:
# author and member are researchers of the project and the author wrote the request, outsider is one of another
# project; reviewer is independent, exmember is a reviewer whose membership of the project has ended; hub and door
# show their service tokens. `sign-in` sends to the sign-in page; `303!` and `302!` go back with a refusal in words.
# States of the thing that are answered alike stand on one line.
"""
DECIDED_HEAD = """\
# Part 2: what the rules say of each action, before any state is asked. `404`: denied as if the thing did not exist.
# `others'`: somebody else's workspace, request or dataset. `draft`: a request that was not submitted yet.
# `no permission`: the owners of the data gave this person no permission to export.
"""


@dataclass(frozen=True)
class Observed:
    """One call."""

    route: NamedRoute
    state: str
    thing: Thing
    who: str
    answer: Answer

    @property
    def cell(self) -> str:
        answer = self.answer
        if answer.status == 303 and same_place(answer) == "/sign-in" and not _flash(answer):
            return "sign-in"
        refused = _flash(answer) in _REFUSED_BY or "error=" in (answer.header("location") or "")
        return f"{answer.status}!" if refused else str(answer.status)


def _flash(answer: Answer) -> str | None:
    for name, value in answer.headers:
        if name == "set-cookie" and value.startswith(f"{FLASH_COOKIE}=") and "." in value:
            body = value.partition("=")[2].partition(".")[0]
            return str(json.loads(base64.urlsafe_b64decode(body))["kind"])
    return None


def sorted_routes() -> list[NamedRoute]:
    """Return every route once."""
    return sorted(set(ROUTES), key=lambda route: (route.kind.value, route.path, route.method))


def observe(surface: Surface, route: NamedRoute) -> Iterator[Observed]:
    """Call one route as everybody, in every state; what a call changed is put back before the next."""
    recipe = recipe_of(route)
    assert recipe is not None, f"say in support/surface_calls.py how {route.method} {route.path} is called"
    for state, thing in states_of(surface, route, recipe).items():
        for who in ACTORS:
            answer = call(surface, route, recipe, surface.visitors[who], thing)
            if answer.status < 400 and (route.method != "GET" or route.path in READS_THAT_WRITE):
                surface.put_back()
            yield Observed(route, state, thing, who, answer)


def _row(cells: Iterable[str], label: str) -> str:
    return ("  " + "".join(cell.ljust(WIDTH) for cell in cells) + label).rstrip()


def observed_text(found: Mapping[NamedRoute, list[Observed]]) -> str:
    """Write the first part."""
    lines = [HEAD, _row(ACTORS, "state")]
    for route, calls in found.items():
        lines += ["", f"{route.method} {route.path}  [{route.kind.value}, {route.action.value}]"]
        rows: dict[tuple[str, ...], list[str]] = {}
        for state in dict.fromkeys(one.state for one in calls):
            cells = tuple(one.cell for one in calls if one.state == state)
            rows.setdefault(cells, []).append(state)
        lines += [_row(cells, ", ".join(states)) for cells, states in rows.items()]
    return "\n".join(lines) + "\n"


_ME, _OTHER, _PROJECT = "me", "other", "project"
_ROLES: dict[str, Actor | None] = {
    "nobody": None,
    "lead": Actor(_ME, "a", "A", memberships={_PROJECT: ProjectRole.LEAD}),
    "member": Actor(_ME, "a", "A", memberships={_PROJECT: ProjectRole.RESEARCHER}),
    "outsider": Actor(_ME, "a", "A", memberships={"elsewhere": ProjectRole.LEAD}),
    "reviewer": Actor(_ME, "a", "A", frozenset({PlatformRole.REVIEWER})),
    "exmember": Actor("past", "a", "A", frozenset({PlatformRole.REVIEWER})),
    "steward": Actor(_ME, "a", "A", frozenset({PlatformRole.STEWARD})),
    "owner": Actor(_ME, "a", "A", frozenset({PlatformRole.ASSET_OWNER})),
    "admin": Actor(_ME, "a", "A", frozenset({PlatformRole.ADMIN})),
}


def _resource(whose: str, *, in_review: bool = True, may_export: bool = True) -> Resource:
    return Resource(
        project_id=_PROJECT,
        owner_id=whose,
        person_id=whose,
        author_id=whose,
        ever_members=frozenset({"past"}),
        in_review=in_review,
        may_export=may_export,
    )


_CASES = {
    "own": _resource(_ME),
    "own draft": _resource(_ME, in_review=False),
    "own, no permission": _resource(_ME, may_export=False),
    "others'": _resource(_OTHER),
    "others' draft": _resource(_OTHER, in_review=False),
}


def decided_text() -> str:
    """Write the second part."""
    lines = [DECIDED_HEAD, _row(_ROLES, "case")]
    for action in sorted(RULES):
        lines += ["", action.value]
        rows: dict[tuple[str, ...], list[str]] = {}
        for label, resource in _CASES.items():
            rows.setdefault(_decided(action, resource), []).append(label)
        every = len(rows) == 1
        lines += [_row(cells, "" if every else "; ".join(labels)) for cells, labels in rows.items()]
    return "\n".join(lines) + "\n"


def _decided(action: Action, resource: Resource) -> tuple[str, ...]:
    said = [decide(actor, action, resource) for actor in _ROLES.values()]
    return tuple("yes" if one.allowed else "404" if one.hidden else "no" for one in said)
