"""The real hub, proxy and sandbox against a control plane that keeps the contract."""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import httpx
import psutil
import pytest

from integration.spawner.hub_client import Browser, admin, run_cell, wait_for, within
from integration.spawner.real_hub import running_hub
from support.busy import slower

MINE, OTHER = "w" + "a" * 24, "w" + "b" * 24


@pytest.fixture(scope="module")
def place():
    """Start the hub once for the module; tests use it in order, the last ones end it."""
    with running_hub() as here:
        here.base = here.base_of(MINE)
        yield here


@pytest.fixture(scope="module")
def opened(place):
    """A running workspace and a browser that is signed in to it."""
    for principal in (MINE, OTHER):
        assert admin(place.run, "POST", f"/users/{principal}", place.token).status_code == 201
    answer = admin(place.run, "POST", f"/users/{MINE}/server", place.token)
    assert answer.status_code in (201, 202), answer.text
    browser = Browser()
    browser.set("broch.localhost", "who", MINE)
    page = {}

    def lab():
        answer, url, way = browser.get(place.base + "lab")
        page.update(answer=answer, url=url, way=way)
        return answer.status_code == 200

    try:
        wait_for("Lab", lab, 90)
    except AssertionError:
        raise AssertionError(
            f"{page['answer'].status_code} {page['way']} {page['answer'].text[:800]}\n{place.log.read_text()}"
        ) from None
    yield SimpleNamespace(browser=browser, **page)
    browser.close()


def cell(opened, place, code):
    return within(60, run_cell(opened.browser, place.base, code))


def test_a_person_gets_from_the_shell_to_lab(opened, place):
    assert opened.url.startswith(place.base)
    assert (
        any(f"broch.localhost:{place.port}/oauth/authorize" in step for step in opened.way)
        or "JupyterLab" in opened.answer.text
    )
    assert "jupyter-config-data" in opened.answer.text


def test_the_page_of_lab_carries_our_policy(opened, place):
    headers = opened.answer.headers
    policy = headers["content-security-policy"]
    assert f"frame-ancestors 'self' http://broch.localhost:{place.port}" in policy
    assert "default-src 'self'" in policy
    assert headers["connection-allowlist"] == "(response-origin)"
    assert "downloads" not in policy
    assert "filebrowser-extension:download" in opened.answer.text, [
        opened.answer.text[m : m + 300] for m in [opened.answer.text.find("disabledExt")]
    ]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "x.y.hub.broch.localhost", "broch.localhost"])
def test_an_unknown_host_is_misdirected(place, host):
    browser = Browser()
    answer = browser.call("GET", f"http://127.0.0.1:{place.port + 1}/hub/login", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; sandbox")
    browser.close()


@pytest.mark.parametrize(
    "path", ["files/x.csv", "nbconvert/html/x.ipynb", "%66iles/x", "lab/../files/x", "api/..//files/x"]
)
def test_a_download_points_to_the_airlock(opened, place, path):
    answer = opened.browser.call("GET", place.base + path)
    assert answer.status_code == 403
    assert "airlock" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_an_answer_of_the_server_itself_is_a_dead_end(place):
    browser = Browser()
    answer = browser.call("GET", place.base + "x" * 20000)
    assert answer.status_code == 400
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; sandbox")
    browser.close()


@pytest.mark.parametrize(
    "path", ["/hub/token", "/hub/home", "/hub/spawn", "/hub/admin", "/hub/api/users", "/", "/services/x"]
)
def test_the_hub_shows_a_browser_only_what_signing_in_needs(opened, place, path):
    answer = opened.browser.call("GET", place.hub_origin + path)
    assert answer.status_code == 404
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_somebody_else_does_not_get_in(opened, place):
    stranger = Browser()
    stranger.set("broch.localhost", "who", OTHER)
    answer, url, _ = stranger.get(place.base + "lab")
    assert answer.status_code in (400, 403), url
    assert "jupyter-config-data" not in answer.text
    stranger.close()


def test_a_browser_that_was_in_another_workspace_gets_in_by_signing_in_afresh(opened, place):
    person = Browser()
    person.set("broch.localhost", "who", OTHER)
    person.get(f"{place.hub_origin}/hub/oauth_login?next=/hub/user/{OTHER}/lab")
    person.set("broch.localhost", "who", MINE)
    answer, url, _ = person.get(f"{place.hub_origin}/hub/oauth_login?next=/hub/user/{MINE}/lab")
    assert answer.status_code == 200, url
    assert url == place.base + "lab"
    assert "jupyter-config-data" in answer.text
    person.close()


def test_a_login_begun_elsewhere_is_refused(place):
    victim, attacker = Browser(), Browser()
    attacker.set("broch.localhost", "who", MINE)
    url = f"{place.hub_origin}/hub/oauth_login?next=/hub/user/{MINE}/lab"
    first = attacker.call("GET", url)
    back = attacker.call("GET", first.headers["location"]).headers["location"]
    refused = victim.call("GET", back)
    assert refused.status_code == 400
    taken = attacker.call("GET", back)
    assert taken.status_code == 302
    for browser in (victim, attacker):
        browser.close()


def test_a_cell_sees_its_data_and_nothing_else(opened, place):
    said = cell(opened, place, """
import os, socket, subprocess
print("DATA", open("/data/cohort/people.csv").read().split())
for what in (lambda: open("/data/cohort/people.csv", "a"), lambda: open("/data/x", "w"), lambda: open("/imports/x", "w")):
    try: what(); print("WROTE")
    except OSError as e: print("read-only", e.errno)
print("IFACES", socket.if_nameindex())
open("/project/shared", "w").write("1"); open(os.path.expanduser("~/mine"), "w").write("1"); print("HOME", os.path.expanduser("~"))
print("HOST", [p for p in ("/home", "/root", "/var", "/etc/shadow") if os.path.exists(p)], os.listdir("/home"))
print("ZONES", os.path.exists(STATE))
print("LINKS", sorted(n for n in os.listdir() if os.path.islink(n)))
import urllib.request
def hub(method, path):
    import http.client
    class C(http.client.HTTPConnection):
        def connect(self): self.sock = socket.socket(socket.AF_UNIX); self.sock.connect("/run/hub/hub.sock")
    c = C("h"); c.request(method, path, headers={"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]})
    return c.getresponse().status
print("HUB", hub("GET", "/hub/api/user"), hub("GET", "/hub/api/users"), hub("GET", "/hub/login"),
      hub("POST", f"/hub/api/users/{os.environ['JUPYTERHUB_USER']}/tokens"), hub("GET", "/hub/api/info"))
""".replace("STATE", repr(str(place.state))))  # fmt: skip
    assert "DATA ['a,b', '1,2']" in said
    assert "WROTE" not in said
    assert said.count("read-only") == 3
    assert "IFACES [(1, 'lo')]" in said
    assert "HOME /home/researcher" in said
    # An environment below /home has to be seen there; nothing else is.
    around = Path(sys.prefix).parts[2:3] if sys.prefix.startswith("/home/") else ()
    assert str(sorted({"researcher", *around})) in said
    assert "/etc/shadow" not in said
    assert "ZONES False" in said
    assert "LINKS ['data', 'imports', 'project']" in said
    assert "HUB 200 403 403 403 403" in said
    assert (place.state / "zones/p1/home" / MINE / "mine").read_text() == "1"


def test_the_workspaces_token_reports_its_own_activity_and_nothing_else(opened, place):
    """Even past the narrow way: the token is tried at the hub's own socket."""
    said = cell(
        opened,
        place,
        """
import os; print("TOKEN", os.environ["JUPYTERHUB_API_TOKEN"])
""",
    )
    token = said.split("TOKEN ")[1].split()[0]
    other = "w" + "b" * 24

    def ask(method, path, body=None):
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(place.run / "hub" / "hub.sock")), timeout=30
        ) as client:
            return client.request(
                method, f"http://hub/hub/api{path}", headers={"Authorization": f"token {token}"}, json=body
            ).status_code

    active = {"last_activity": "2026-01-01T00:00:00Z"}
    assert ask("POST", f"/users/{MINE}/activity", active) == 200
    assert ask("GET", "/user") == 200
    refused = [
        ("POST", f"/users/{other}/activity", active),
        ("GET", "/users", None),
        ("GET", f"/users/{other}", None),
        ("POST", f"/users/{MINE}", {}),
        ("DELETE", f"/users/{MINE}", None),
        ("POST", f"/users/{MINE}/server", {}),
        ("DELETE", f"/users/{MINE}/server", None),
        ("GET", f"/users/{MINE}/tokens", None),
        ("POST", f"/users/{MINE}/tokens", {}),
        ("GET", f"/users/{MINE}/shared", None),
        ("POST", f"/shares/{MINE}/", {"user": other}),
        ("GET", "/groups", None),
        ("GET", "/services", None),
        ("GET", "/proxy", None),
        ("POST", "/shutdown", {}),
    ]
    seen = {(method, path): ask(method, path, body) for method, path, body in refused}
    assert set(seen.values()) <= {403, 404}, seen


def test_the_airlock_command_reaches_the_door(opened, place):
    said = cell(opened, place, """
import subprocess
open("table.csv", "w").write("a\\n1\\n"); open("bad.exe", "wb").write(b"MZ"); open("last.csv", "w").write("x")
def sh(*argv):
    done = subprocess.run(argv, capture_output=True, text=True); print(done.returncode, done.stdout, done.stderr)
sh("airlock", "submit", "table.csv", "--purpose", "Table 2")
sh("airlock", "submit", "table.csv", "bad.exe", "last.csv")
sh("airlock", "submit", "/data", "nothing.csv")
sh("airlock", "status")
sh("airlock", "--help")
""")  # fmt: skip
    assert f"Confirm purpose and files here: http://broch.localhost:{place.port}/airlock/d1" in said
    assert "bad.exe was not taken: Programs are not taken." in said
    assert "The draft holds table.csv. Not in it: bad.exe, last.csv." in said
    assert "Nothing was submitted.\n  /data: is a folder." in said
    assert "nothing.csv: No such file or directory." in said
    assert f"egress  draft  d1  Table 2  1 file(s)  http://broch.localhost:{place.port}/airlock/d1" in said
    assert "How results leave this workspace" in said


def test_a_sandbox_that_takes_too_much_memory_is_ended(opened, place):
    """Many processes, each below its own limit."""
    survived = []
    code = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        hog = bytearray(os.urandom(1 << 20)) * 400; time.sleep(20); os._exit(0)
time.sleep(20); print("SURVIVED")
"""
    # The websocket is cut while the cell runs, or the cell never gets to say it.
    with contextlib.suppress(AssertionError, OSError, aiohttp.ClientError, TimeoutError):
        survived.append(cell(opened, place, code))
    assert "SURVIVED" not in "".join(survived)
    late = 15 * slower()
    wait_for("the event", lambda: [one for one in events(place) if "of memory" in one["detail"]], late)
    wait_for(
        "the route to go", lambda: opened.browser.call("GET", place.base + "lab").status_code == 503, late
    )


def test_what_became_of_it_was_told(opened, place):
    assert [one["event"] for one in events(place)][:2] == ["running", "stopped"]


def test_a_refusal_reaches_the_person(opened, place):
    refuse(place, "Your project ended on 1 May.")
    answer = admin(place.run, "POST", f"/users/{MINE}/server", place.token)
    assert answer.status_code == 409, answer.text
    assert "Your project ended on 1 May." in answer.text
    refuse(place, None)
    wait_for("the event", lambda: [one for one in events(place) if "ended on 1 May" in one["detail"]])


def test_stop_ends_the_sandbox_and_keeps_the_files(opened, place):
    start_again(place)
    ours = sandboxes(place)
    assert alive(ours)
    assert admin(place.run, "DELETE", f"/users/{MINE}/server", place.token).status_code in (202, 204)
    wait_for("the sandbox to end", lambda: not alive(ours))
    assert (place.state / "zones/p1/home" / MINE / "mine").read_text() == "1"


def test_nothing_outlives_a_hub_that_is_killed(opened, place):
    start_again(place)
    ours = sandboxes(place)
    assert alive(ours)
    os.kill(place.hub, signal.SIGKILL)
    wait_for("every sandbox to end", lambda: not alive(ours), 5 * slower())


def events(place):
    path = place.state / "events.json"
    return json.loads(path.read_text()) if path.exists() else []


def refuse(place, reason):
    path = place.state / "refuse"
    path.write_text(reason) if reason else path.unlink()


def start_again(place):
    answer = admin(place.run, "POST", f"/users/{MINE}/server", place.token)
    assert answer.status_code in (201, 202), answer.text
    user = lambda: admin(place.run, "GET", f"/users/{MINE}", place.token).json()  # noqa: E731
    wait_for("the server", lambda: user().get("server"), 90)


def sandboxes(place):
    """Return the sandboxed servers below this test's hub."""
    return [
        one
        for one in psutil.Process(place.hub).children(recursive=True)
        if "/opt/broch/lab.py" in one.cmdline()
    ]


def alive(processes):
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
