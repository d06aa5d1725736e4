"""One listener for shell, airlock and viewer: who answers is decided by host and path, and nothing falls through."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from broch.instance import Apps
from broch.web import make_shell, own_pages
from broch_core.settings import Settings

SHELL = "http://broch.localhost:8000"


def named(name):
    async def answer(request):
        return PlainTextResponse(name)

    return Starlette(routes=[Route("/{path:path}", answer)])


@pytest.fixture
def shell(tmp_path):
    apps = Apps(**{name: named(name) for name in ("control", "airlock", "viewer", "internal", "door")})
    return TestClient(
        make_shell(apps, Settings(folder=tmp_path, port=8000)), base_url=SHELL, follow_redirects=False
    )


@pytest.mark.parametrize(
    ("path", "who"),
    [
        ("/", "control"),
        ("/projects", "control"),
        ("/airlock", "airlock"),
        ("/airlock/requests/1", "airlock"),
        ("/api/v1/airlock/requests", "airlock"),
        ("/api/v1/projects", "control"),
        ("/airlocked", "control"),
        ("/internal/v1/spawn-plans/x", "control"),
        ("/door/v1/drafts", "control"),
    ],
)
def test_paths_lead_to_their_app_and_sockets_stay_apart(shell, path, who):
    assert shell.get(path).text == who


def test_the_viewer_has_a_host_of_its_own(shell):
    answer = shell.get("/airlock", headers={"Host": "viewer.broch.localhost:8000"})
    assert answer.text == "viewer"


@pytest.mark.parametrize(
    "host", ["evil.example", "broch.localhost", "broch.localhost:8001", "x.broch.localhost:8000"]
)
def test_unknown_hosts_get_421(shell, host):
    assert shell.get("/", headers={"Host": host}).status_code == 421


def test_a_collector_asks_a_pod_by_its_address_and_gets_two_pages_and_no_more():
    own = TestClient(own_pages(named("control")), base_url="https://10.1.2.3:8448", follow_redirects=False)
    for path, answer in (("/healthz", "ok\n"), ("/metrics", "control")):
        assert own.get(path).text == answer
        assert own.post(path).status_code == 404
    for path in (
        "/",
        "/readyz",
        "/status",
        "/api/v1/projects",
        "/metrics/",
        "//metrics",
        "/static/broch.css",
    ):
        assert own.get(path).status_code == 404


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000"])
def test_people_who_type_another_name_are_brought_to_the_shell(shell, host):
    answer = shell.get("/projects", headers={"Host": host, "Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (307, f"{SHELL}/projects")
    assert shell.get("/api/v1/projects", headers={"Host": host, "Accept": "application/json"}).text == (
        "control"
    )
