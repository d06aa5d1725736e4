"""How each route is called for real: on which things, with which body. A route without an entry fails the matrix."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

from broch_core.web.routing import Kind, NamedRoute
from support.surface import Answer, Surface, Visitor
from support.surface_lists import LIST_FAMILIES, LIST_RECIPES
from support.surface_recipes import OAUTH, Recipe, Thing, keys, nothing
from support.surface_zones import of_importer

_NEXT_YEAR = "2099-01-01"


_PAGE_STATES = ("draft", "in_review", "returned", "released", "deleted")
"""Pages ask the same services as the API, which is tried in every state."""


def _submission(thing: Thing) -> dict[str, Any]:
    return {"purpose": "Table 2", "files": [{"file_id": thing["file_id"], "sha256": thing["sha256"]}]}


def _submitted_form(thing: Thing) -> dict[str, Any]:
    return {"purpose": "Table 2", "seen": f"{thing['file_id']}:{thing['sha256']}", "looked": "yes"}


_BYTES = {"content-type": "application/octet-stream"}
_TUS = {"tus-resumable": "1.0.0"}
_NAME = base64.b64encode(b"new.bin").decode()
_BEGIN = {**_TUS, "upload-length": "4", "upload-metadata": f"filename {_NAME}"}
_PART = {**_TUS, "upload-offset": "0", "content-type": "application/offset+octet-stream"}
_PERSON = {"handle": "newcomer", "display_name": "New Comer"}
_PROJECT = {"slug": "new-one", "name": "New one", "starts_on": "2026-01-01", "ends_on": _NEXT_YEAR}
_DATASET = {"slug": "new-data", "title": "New data", "owner": "owen"}
_DECISION = keys("sha256", "turn", opinion="approve")
_DECISION_FORM = keys("sha256", "turn", decision="approve")
_VIEW = keys("sha256", "turn")


def _grant(thing: Thing) -> dict[str, Any]:
    return {
        "project_id": thing["project_id"],
        "version_id": thing["version_id"],
        "kind": "validation-only",
        "until": thing["until"],
    }


def _member(thing: Thing) -> dict[str, Any]:
    return {"member": f"{thing['project_id']}:{thing['person_id']}"}


RECIPES: dict[tuple[str, str], Recipe] = {
    **LIST_RECIPES,
    ("GET", "/"): Recipe(),
    ("GET", "/sign-in"): Recipe(),
    ("POST", "/sign-in"): Recipe(form=lambda _: {"person": "ruth"}),
    ("GET", "/sign-in/probe"): Recipe(),
    ("GET", "/sign-in/callback"): Recipe(query=lambda _: {"state": "s", "code": "c"}),
    ("POST", "/sign-in/back-channel-logout"): Recipe(form=lambda _: {"logout_token": "a.b.c"}),
    ("POST", "/sign-out"): Recipe(form=nothing),
    ("POST", "/theme"): Recipe(form=lambda _: {"theme": "dark"}),
    ("POST", "/api/v1/sessions"): Recipe(json=lambda _: {"handle": "ruth"}),
    ("GET", "/api/v1/sessions/current"): Recipe(),
    ("DELETE", "/api/v1/sessions/current"): Recipe(),
    ("GET", "/people"): Recipe(),
    ("POST", "/people"): Recipe(form=lambda _: _PERSON),
    ("GET", "/api/v1/people"): Recipe(),
    ("POST", "/api/v1/people"): Recipe(json=lambda _: _PERSON),
    ("POST", "/people/sign-out"): Recipe(form=lambda _: {"handle": "robin"}),
    ("POST", "/api/v1/people/sign-out"): Recipe(json=lambda _: {"handle": "robin"}),
    ("GET", "/projects"): Recipe(),
    ("GET", "/projects/new"): Recipe(),
    ("POST", "/projects"): Recipe(form=lambda _: _PROJECT),
    ("GET", "/api/v1/projects"): Recipe(),
    ("POST", "/api/v1/projects"): Recipe(json=lambda _: _PROJECT),
    ("GET", "/projects/{project_id}"): Recipe("project"),
    ("GET", "/api/v1/projects/{project_id}"): Recipe("project"),
    ("POST", "/projects/{project_id}/browser-policy"): Recipe("project", form=lambda _: {"policy": "allow"}),
    ("POST", "/api/v1/projects/{project_id}/browser-policy"): Recipe(
        "project", json=lambda _: {"policy": "allow"}
    ),
    ("POST", "/projects/{project_id}/idle-stop"): Recipe("project", form=lambda _: {"minutes": "90"}),
    ("POST", "/api/v1/projects/{project_id}/idle-stop"): Recipe("project", json=lambda _: {"minutes": 90}),
    ("POST", "/projects/{project_id}/shared-workspace"): Recipe(
        "project", form=lambda _: {"allowed": "true"}
    ),
    ("POST", "/api/v1/projects/{project_id}/shared-workspace"): Recipe(
        "project", json=lambda _: {"allowed": True}
    ),
    ("POST", "/api/v1/projects/{project_id}/shared-workspace/open"): Recipe("shared", json=lambda _: {}),
    ("POST", "/projects/{project_id}/shared"): Recipe("shared", form=nothing),
    ("GET", "/api/v1/projects/{project_id}/members"): Recipe("project"),
    ("GET", "/api/v1/projects/{project_id}/revocations"): Recipe("project"),
    ("POST", "/projects/{project_id}/members"): Recipe(
        "project", form=lambda _: {"handle": "sam", "role": "lead"}
    ),
    ("POST", "/api/v1/projects/{project_id}/members"): Recipe("project", json=lambda _: {"handle": "sam"}),
    ("POST", "/projects/{project_id}/members/{membership_id}/remove"): Recipe("membership", form=nothing),
    ("DELETE", "/api/v1/projects/{project_id}/members/{membership_id}"): Recipe("membership"),
    ("GET", "/datasets"): Recipe(),
    ("GET", "/datasets/new"): Recipe(),
    ("POST", "/datasets"): Recipe(form=lambda _: _DATASET),
    ("GET", "/api/v1/datasets"): Recipe(),
    ("POST", "/api/v1/datasets"): Recipe(json=lambda _: _DATASET),
    ("GET", "/datasets/{dataset_id}"): Recipe("dataset"),
    ("GET", "/api/v1/datasets/{dataset_id}"): Recipe("dataset"),
    ("POST", "/datasets/{dataset_id}/versions"): Recipe("dataset", form=nothing),
    ("POST", "/api/v1/datasets/{dataset_id}/versions"): Recipe("dataset"),
    ("GET", "/datasets/{dataset_id}/versions/{version_id}"): Recipe("version"),
    ("POST", "/datasets/{dataset_id}/versions/{version_id}/remove"): Recipe(
        "version", form=lambda _: {"path": "table.csv"}
    ),
    ("PUT", "/api/v1/dataset-versions/{version_id}/files/{path:path}"): Recipe(
        "version", raw=b"1234", headers=_BYTES, path={"path:path": "more/new.csv"}
    ),
    ("DELETE", "/api/v1/dataset-versions/{version_id}/files/{path:path}"): Recipe(
        "version", path={"path:path": "table.csv"}
    ),
    ("GET", "/api/v1/datasets/{dataset_id}/grants"): Recipe("dataset"),
    ("GET", "/api/v1/datasets/{dataset_id}/export-candidates"): Recipe("dataset"),
    ("GET", "/api/v1/datasets/{dataset_id}/grantable-projects"): Recipe("dataset"),
    ("GET", "/api/v1/datasets/{dataset_id}/export-permissions"): Recipe("dataset"),
    ("POST", "/datasets/{dataset_id}/grants"): Recipe("giving", form=_grant),
    ("POST", "/api/v1/datasets/{dataset_id}/grants"): Recipe("giving", json=_grant),
    ("POST", "/datasets/{dataset_id}/export-permissions"): Recipe("giving", form=_member),
    ("POST", "/api/v1/datasets/{dataset_id}/export-permissions"): Recipe(
        "giving", json=keys("project_id", "person_id")
    ),
    ("POST", "/datasets/{dataset_id}/grants/{grant_id}/revoke"): Recipe("grant", form=nothing),
    ("DELETE", "/api/v1/grants/{grant_id}"): Recipe("grant"),
    ("POST", "/datasets/{dataset_id}/export-permissions/{permission_id}/withdraw"): Recipe(
        "permission", form=nothing
    ),
    ("DELETE", "/api/v1/export-permissions/{permission_id}"): Recipe("permission"),
    ("GET", "/workspaces"): Recipe(),
    ("GET", "/api/v1/workspaces"): Recipe(),
    ("POST", "/api/v1/workspaces"): Recipe("workspace", json=keys("project_id")),
    ("GET", "/oauth/authorize"): Recipe(
        "workspace",
        query=lambda thing: {**OAUTH, "principal": thing["principal"]},
        states=("stopped", "starting", "running", "stopping", "failed"),
    ),
    ("GET", "/audit"): Recipe(),
    ("POST", "/audit/verify"): Recipe(form=nothing),
    ("GET", "/api/v1/audit/records"): Recipe(),
    ("GET", "/api/v1/audit/records/{record_id}/proof"): Recipe("record"),
    ("GET", "/api/v1/audit/checkpoint"): Recipe(),
    ("GET", "/api/v1/audit/checkpoints"): Recipe(),
    ("GET", "/api/v1/audit/consistency"): Recipe(query=lambda _: {"old": 1, "new": 2}),
    ("POST", "/api/v1/audit/verify"): Recipe(),
    ("POST", "/api/v1/audit/erasures"): Recipe("record", json=lambda thing: {"record": thing["record_id"]}),
    ("POST", "/api/v1/audit/keys"): Recipe(json=lambda _: {"purpose": "statement"}),
    ("GET", "/api/v1/audit/export"): Recipe(),
    ("GET", "/healthz"): Recipe(),
    ("GET", "/readyz"): Recipe(),
    ("GET", "/metrics"): Recipe(),
    ("GET", "/status"): Recipe(),
    ("POST", "/status/freeze"): Recipe(form=lambda _: {"reason": "An intrusion is looked into."}),
    ("POST", "/status/freeze/end"): Recipe(form=nothing),
    ("GET", "/api/v1/freeze"): Recipe(),
    ("POST", "/api/v1/freeze"): Recipe(json=lambda _: {"reason": "An intrusion is looked into."}),
    ("DELETE", "/api/v1/freeze"): Recipe(),
    # airlock
    ("GET", "/airlock"): Recipe(),
    ("GET", "/airlock/new"): Recipe(),
    ("POST", "/airlock/new"): Recipe("project", form=keys("project_id")),
    ("GET", "/api/v1/airlock/requests"): Recipe(),
    ("POST", "/api/v1/airlock/requests"): Recipe("project", json=keys("project_id")),
    ("GET", "/airlock/zones/{project_id}"): Recipe("zone"),
    ("GET", "/api/v1/airlock/zones/{project_id}"): Recipe("zone"),
    ("POST", "/airlock/zones/{project_id}"): Recipe(
        "zone", form=lambda _: {"area": "project", "path": "", "paths": "results.csv"}
    ),
    ("POST", "/api/v1/airlock/picks"): Recipe(
        "zone", json=keys("project_id", area="project", paths=["results.csv"])
    ),
    ("GET", "/airlock/fragment"): Recipe("zone", query=lambda thing: {"project": thing["project_id"]}),
    ("POST", "/airlock/requests/{request_id}/submit"): Recipe("request", form=_submitted_form),
    ("POST", "/api/v1/airlock/requests/{request_id}/submit"): Recipe("request", json=_submission),
    ("POST", "/airlock/requests/{request_id}/withdraw"): Recipe("request", form=nothing),
    ("POST", "/airlock/requests/{request_id}/comments"): Recipe("request", form=lambda _: {"text": "Why?"}),
    ("POST", "/api/v1/airlock/requests/{request_id}/comments"): Recipe(
        "request", json=lambda _: {"text": "Why?"}
    ),
    ("POST", "/airlock/requests/{request_id}/files/{file_id}/remove"): Recipe("request", form=nothing),
    ("OPTIONS", "/api/v1/airlock/uploads"): Recipe(),
    ("OPTIONS", "/api/v1/airlock/requests/{request_id}/uploads"): Recipe("ingress"),
    ("OPTIONS", "/api/v1/airlock/uploads/{upload_id}"): Recipe("upload"),
    ("POST", "/api/v1/airlock/requests/{request_id}/uploads"): Recipe("ingress", headers=_BEGIN),
    ("HEAD", "/api/v1/airlock/uploads/{upload_id}"): Recipe("upload", headers=_TUS),
    ("PATCH", "/api/v1/airlock/uploads/{upload_id}"): Recipe("upload", raw=b"1234", headers=_PART),
    ("DELETE", "/api/v1/airlock/uploads/{upload_id}"): Recipe("upload", headers=_TUS),
    ("PUT", "/api/v1/airlock/requests/{request_id}/files/{name}"): Recipe(
        "ingress", raw=b"1234", headers=_BYTES, path={"name": "new.csv"}
    ),
    ("POST", "/airlock/download"): Recipe("ticket", form=keys("ticket")),
    ("POST", "/airlock/requests/{request_id}/files/{file_id}/download"): Recipe("request", form=nothing),
    ("GET", "/api/v1/airlock/trust.json"): Recipe(),
    ("GET", "/api/v1/airlock/recalls.json"): Recipe(),
    ("GET", "/airlock/releases"): Recipe(),
    ("GET", "/api/v1/airlock/releases"): Recipe(),
    ("POST", "/airlock/requests/{request_id}/retry"): Recipe("release", form=nothing),
    ("POST", "/api/v1/airlock/requests/{request_id}/retry"): Recipe("release"),
    ("POST", "/airlock/requests/{request_id}/recall"): Recipe(
        "release", form=lambda _: {"reason": "Single patients."}
    ),
    ("POST", "/api/v1/airlock/requests/{request_id}/recall"): Recipe(
        "release", json=lambda _: {"reason": "Single patients."}
    ),
    ("GET", "/airlock/review"): Recipe(),
    ("GET", "/api/v1/airlock/queue"): Recipe(),
    ("POST", "/airlock/review/{request_id}/files/{file_id}/decide"): Recipe("request", form=_DECISION_FORM),
    ("POST", "/airlock/review/{request_id}/files/{file_id}/view"): Recipe("request", form=_VIEW),
    ("POST", "/api/v1/airlock/requests/{request_id}/files/{file_id}/decisions"): Recipe(
        "request", json=_DECISION
    ),
    ("POST", "/api/v1/airlock/requests/{request_id}/files/{file_id}/views"): Recipe("request", json=_VIEW),
    # services
    ("POST", "/internal/v1/workspaces/{principal}/events"): Recipe(
        "workspace", json=lambda _: {"event": "running"}, states=("starting", "running")
    ),
    ("POST", "/internal/v1/workspaces/{principal}/shown"): Recipe(
        "workspace", json=lambda _: {"bytes": 7}, states=("running",)
    ),
    ("POST", "/internal/v1/workspaces/{principal}/idle"): Recipe(
        "workspace", json=lambda _: {"stop_at": None, "start": "0" * 16}, states=("running",)
    ),
    ("POST", "/internal/v1/stays/standing"): Recipe(
        "shared", json=lambda thing: {"principals": [thing["principal"]]}, states=("running",)
    ),
    ("POST", "/internal/v1/stays/{principal}/left"): Recipe("shared", json=lambda _: {}, states=("running",)),
    ("GET", "/internal/v1/spawn-plans/{principal}"): Recipe(
        "workspace", states=("stopped", "starting", "running")
    ),
    ("GET", "/internal/v1/zones"): Recipe(),
    ("POST", "/internal/v1/zones/{project_id}/report"): Recipe(
        "project", json=lambda _: {"digest": "0" * 16, "phase": "ready"}, states=("active",)
    ),
    ("POST", "/oauth/token"): Recipe("code", form=lambda thing: thing["form"]),
    ("GET", "/oauth/userinfo"): Recipe("code"),
    ("POST", "/door/v1/drafts"): Recipe(json=lambda _: {"purpose": "Table 2"}),
    ("PUT", "/door/v1/drafts/{draft_id}/files/{name}"): Recipe(
        "draft", raw=b"1234", headers=_BYTES, path={"name": "new.csv"}
    ),
    ("GET", "/door/v1/requests"): Recipe(),
    ("GET", "/door/v1/imports"): Recipe(),
    ("GET", "/door/v1/deliveries/{delivery_id}"): Recipe("delivery"),
}
"""(method, path) -> recipe, for every route that the families below do not cover."""

_FAMILIES: tuple[tuple[str, str, Recipe], ...] = (
    *LIST_FAMILIES,
    ("*", "/api/v1/projects/{project_id}/shared-workspace*", Recipe("shared")),
    ("GET", "/projects/{project_id}/shared*", Recipe("shared")),
    ("POST", "/projects/{project_id}/shared/*", Recipe("shared", form=nothing)),
    ("POST", "/projects/{project_id}/*", Recipe("project", form=nothing)),
    ("POST", "/api/v1/projects/{project_id}/*", Recipe("project")),
    ("GET", "/projects/{project_id}/workspace*", Recipe("workspace")),
    ("GET", "/api/v1/dataset-versions/{version_id}*", Recipe("version")),
    ("POST", "/api/v1/dataset-versions/{version_id}/*", Recipe("version")),
    ("POST", "/datasets/{dataset_id}/versions/{version_id}/*", Recipe("version", form=nothing)),
    ("GET", "/airlock/requests/{request_id}*", Recipe("request")),
    ("GET", "/airlock/review/{request_id}*", Recipe("request")),
    ("*", "/api/v1/airlock/requests/{request_id}*", Recipe("request")),
    (
        "*",
        "/api/v1/workspaces/{workspace_id}*",
        Recipe("workspace", states=("stopped", "starting", "running", "stopping", "failed")),
    ),
    (
        "POST",
        "/workspaces/{workspace_id}/*",
        Recipe("workspace", form=nothing, states=("stopped", "starting", "running", "stopping", "failed")),
    ),
)


def recipe_of(route: NamedRoute) -> Recipe | None:
    """Return how a route is called, if anybody said."""
    exact = RECIPES.get((route.method, route.path))
    if exact is not None or (route.method, route.path) == ("POST", "/projects/{project_id}/workspace"):
        return exact or Recipe("workspace", form=nothing)
    for method, pattern, recipe in _FAMILIES:
        stem = pattern.removesuffix("*")
        if method in ("*", route.method) and pattern.endswith("*") and route.path.startswith(stem):
            return recipe
    return None


def states_of(surface: Surface, route: NamedRoute, recipe: Recipe) -> dict[str, Thing]:
    """Return the things a recipe is tried on, by state."""
    things = surface.things[recipe.axis]
    chosen = recipe.states or tuple(things)
    if route.kind is Kind.PAGE and recipe.axis == "request":
        chosen = _PAGE_STATES
    return {state: things[state] for state in chosen}


def place_of(route: NamedRoute, recipe: Recipe, thing: Thing) -> str:
    """Return the path with its parameters filled in."""
    place = route.path
    for name, value in {**thing, **recipe.path}.items():
        place = place.replace(f"{{{name}}}", str(value))
    assert "{" not in place, place
    return place


def call(surface: Surface, route: NamedRoute, recipe: Recipe, visitor: Visitor, thing: Thing) -> Answer:
    """Call a route as somebody."""
    target = place_of(route, recipe, thing)
    if recipe.query is not None:
        target += "?" + urlencode(recipe.query(thing))
    headers: list[tuple[str, str | bytes]] = [*visitor.headers(route.kind), *recipe.headers.items()]
    if recipe.axis == "code" and visitor.name == "hub":  # the hub's other credentials, by RFC 6749
        basic = base64.b64encode(f"hub:{thing['secret']}".encode()).decode()
        shown = f"Bearer {thing['access']}" if route.method == "GET" else f"Basic {basic}"
        headers = [("authorization", shown)]
    if recipe.axis == "delivery" and visitor.name == "door":
        headers = of_importer(thing["namespace"])
    data = recipe.raw or b""
    if recipe.json is not None:
        data = json.dumps(recipe.json(thing)).encode()
        headers.append(("content-type", "application/json"))
    elif recipe.form is not None:
        fields = {**recipe.form(thing), "csrf_token": visitor.csrf or ""}
        data = urlencode(fields, doseq=True).encode()
        headers.append(("content-type", "application/x-www-form-urlencoded"))
    headers.append(("content-length", str(len(data))))
    app = None
    if route.kind is Kind.SERVICE:
        app = surface.door if route.path.startswith("/door") else surface.internal
    if recipe.axis == "delivery":  # of a cluster, where the door hears the zone gateway alone
        app = surface.gate
    return surface.ask(route.method, target, headers, data, app=app)
