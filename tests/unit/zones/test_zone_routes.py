"""The controller's side of the internal API: one token, whole models, and no word about projects that are not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from broch_api.internal.app import make_internal_app
from broch_api.internal.credentials import ServiceTokens
from broch_api.zones.service import ZoneRegister
from broch_api.zones.specs import ZoneDefaults
from broch_core.settings import Settings
from broch_core.store.unit import Store
from broch_workspaces.cluster.sources import parse_source
from broch_workspaces.cluster.spec import Quota, ZoneSpecs
from support.worlds import World, make_world

TOKENS = ServiceTokens("hub-token", "oauth", "web", controller="controller-token")
CONTROLLER = {"Authorization": "Bearer controller-token"}
REPORT = {"digest": "0" * 16, "phase": "ready"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def client(world: World, tokens: ServiceTokens = TOKENS) -> TestClient:
    source = parse_source({"type": "host-path", "path": "/srv/datasets"})
    sizes = {"home_bytes": 1 << 30, "project_bytes": 1 << 30, "imports_bytes": 1 << 30}
    register = ZoneRegister(world.store, ZoneDefaults(store=source, quota=Quota(), **sizes))
    services = {
        Store: world.store,
        Settings: world.settings,
        ServiceTokens: tokens,
        ZoneRegister: register,
    }
    return TestClient(make_internal_app(services), base_url="http://localhost")


def test_the_controller_is_told_every_zone_and_believed(world: World):
    api = client(world)
    answer = api.get("/internal/v1/zones", headers=CONTROLLER)
    assert answer.status_code == 200
    specs = ZoneSpecs.model_validate_json(answer.content)
    assert {spec.project_id for spec in specs.items} >= {world.project.id}
    path = f"/internal/v1/zones/{world.project.id}/report"
    assert api.post(path, json=REPORT, headers=CONTROLLER).json() == {"changed": True}
    assert api.post(path, json=REPORT, headers=CONTROLLER).json() == {"changed": False}


@pytest.mark.parametrize("token", ["", "hub-token", "controller-tokem", "Controller-token", "t\N{LATIN SMALL LETTER O WITH DIAERESIS}ken"])  # fmt: skip
def test_nobody_else_is(world: World, token: str):
    api = client(world)
    headers = {"Authorization": f"Bearer {token}".encode()} if token else {}
    assert api.get("/internal/v1/zones", headers=headers).status_code == 401
    path = f"/internal/v1/zones/{world.project.id}/report"
    assert api.post(path, json=REPORT, headers=headers).status_code == 401


def test_where_there_is_no_controller_an_empty_token_opens_nothing(world: World):
    api = client(world, replace(TOKENS, controller=""))
    for headers in ({}, {"Authorization": "Bearer "}, CONTROLLER):
        assert api.get("/internal/v1/zones", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        REPORT | {"phase": "fine"},
        REPORT | {"digest": "0" * 17},
        REPORT | {"message": "x" * 501},
        REPORT | {"more": 1},
        REPORT | {"delivered": ["x"]},
    ],
)
def test_a_report_that_is_not_understood_changes_nothing(world: World, body: dict[str, object]):
    api = client(world)
    path = f"/internal/v1/zones/{world.project.id}/report"
    assert api.post(path, json=body, headers=CONTROLLER).status_code == 422
    assert api.post(path, json=REPORT, headers=CONTROLLER).json() == {"changed": True}


def test_projects_that_are_not_there_answer_404(world: World):
    answer = client(world).post(f"/internal/v1/zones/{'0' * 26}/report", json=REPORT, headers=CONTROLLER)
    assert answer.status_code == 404
