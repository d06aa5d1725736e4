"""The package route between a gateway and registries: what is served, what is refused, and what is asked outside."""

import gzip
import http.client
import json
import os
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broch_workspaces.packages.spec import Ecosystem
from support.gateway import Told, gateway_rig, review
from support.packages import PROJECT, archive, inside_module, package, package_world, resource, sha256, wheel

NAME, DATA = wheel("tidy", "1.0")
TIDY = package(Ecosystem.PYPI, "tidy", "1.0", (NAME, DATA), facts={"requires_python": ">=3.9"})
FILE = f"/packages/pypi/files/tidy/1.0/{NAME}"


@pytest.fixture
def listed(world):
    """Return a world where one wheel is allowed and there."""
    world.registry.put_pypi(TIDY, {NAME: DATA})
    world.allow(TIDY)
    return world


def test_a_listed_file_is_served_with_its_record_and_kept(listed):
    answer = listed.ask(FILE)
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.header("broch-sha256") == sha256(DATA)
    assert listed.control.fetches == [
        {
            "project_id": PROJECT,
            "pod": "zone-01arz3ndektsv4rrffq69g5fav/ws-1",
            "kind": "package",
            "ecosystem": "pypi",
            "name": "tidy",
            "version": "1.0",
            "file": NAME,
            "sha256": sha256(DATA),
            "size": len(DATA),
        }
    ]
    asked = len(listed.registry.asked)
    assert listed.ask(FILE).body == DATA
    assert len(listed.registry.asked) == asked, "what is kept is not fetched again"
    assert len(listed.control.fetches) == 2, "but recorded again"
    assert listed.control.tokens == {"Bearer token-of-packages"}


def test_a_local_version_is_served_as_pip_writes_it(world):
    name, data = wheel("tidy", "1!1.0+cpu")
    tidy = package(Ecosystem.PYPI, "tidy", "1!1.0+cpu", (name, data))
    world.registry.put_pypi(tidy, {name: data})
    world.allow(tidy)
    plain = f"/packages/pypi/files/tidy/1!1.0+cpu/{name}"
    for target in (plain, plain.replace("!", "%21").replace("+", "%2B"), plain.replace("+", "%2b")):
        answer = world.ask(target)
        assert (answer.status, answer.body) == (200, data), target
    assert {(one["version"], one["file"]) for one in world.control.fetches} == {("1!1.0+cpu", name)}


def test_nothing_of_the_zone_reaches_a_registry(listed):
    listed.ask(
        FILE, headers=[("User-Agent", "secret-in-a-header"), ("X-A", "secret"), ("Accept", "secret/x")]
    )
    assert listed.registry.asked == ["/simple/tidy/", f"/hashed/{sha256(NAME.encode())[:8]}/{NAME}"]
    assert "secret" not in repr(listed.registry.headers)
    assert "zone-" not in repr(listed.registry.headers)


def test_indexes_are_made_from_lists_and_ask_nobody(listed):
    page = listed.ask(
        "/packages/pypi/simple/tidy/", headers=[("Accept", "application/vnd.pypi.simple.v1+json")]
    )
    (file,) = page.json()["files"]
    assert page.header("content-type") == "application/vnd.pypi.simple.v1+json"
    assert file["hashes"] == {"sha256": sha256(DATA)}
    assert file["requires-python"] == ">=3.9"
    text = listed.ask("/packages/pypi/simple/tidy/").body.decode()
    assert f"{NAME}#sha256={sha256(DATA)}" in text
    assert 'data-requires-python="&gt;=3.9"' in text
    assert listed.ask(FILE, "HEAD").header("content-length") == str(len(DATA))
    assert listed.registry.asked == []


def test_an_index_of_r_comes_plain_and_packed_and_not_as_rds(world):
    world.allow(
        package(Ecosystem.CRAN, "Tidy", "1.0", ("Tidy_1.0.tar.gz", b"x"), facts={"Imports": "methods"})
    )
    plain = world.ask("/packages/cran/src/contrib/PACKAGES").body
    assert b"Package: Tidy\nVersion: 1.0\nImports: methods\n" in plain
    assert gzip.decompress(world.ask("/packages/cran/src/contrib/PACKAGES.gz").body) == plain
    assert world.ask("/packages/cran/src/contrib/PACKAGES.rds").status == 404


def test_what_is_taken_off_the_list_is_in_no_index_any_more(world):
    builds = [(f"tidy-1.0-py_{number}.conda", b"x") for number in range(100)]
    tidy = package(Ecosystem.CONDA, "tidy", "1.0", *builds, channel="forge", subdir="noarch")
    index = "/packages/conda/forge/noarch/repodata.json"
    world.allow(tidy)
    assert len(world.ask(index).json()["packages.conda"]) == 100
    assert len(world.ask(index).json()["packages.conda"]) == 100
    world.allow(tidy.model_copy(update={"files": tidy.files[:99]}))
    assert len(world.ask(index).json()["packages.conda"]) == 99
    assert world.ask(index.replace("noarch", "linux-64")).json()["packages.conda"] == {}


def test_a_wrong_name_is_refused_with_the_near_one_and_told(listed):
    answer = listed.ask("/packages/pypi/simple/tidi/")
    assert answer.status == 403
    assert answer.json()["detail"] == "'tidi' is not on the list of this project. Did you mean 'tidy'?"
    listed.ask("/packages/pypi/simple/tidi/")
    listed.wait(lambda: sum(one["count"] for one in listed.control.denials) == 2)
    assert listed.control.denials[0]["name"] == "tidi"
    assert listed.control.denials[0]["project_id"] == PROJECT


def test_a_wrong_version_names_those_that_are_listed(listed):
    answer = listed.ask("/packages/pypi/files/tidy/2.0/tidy-2.0-py3-none-any.whl")
    assert answer.json()["detail"] == "Version 2.0 of 'tidy' is not on the list of this project. Listed: 1.0."


def test_other_bytes_than_those_that_were_allowed_are_not_served_and_not_kept(listed):
    listed.registry.put_pypi(TIDY, {NAME: DATA[:-1] + b"!"})
    answer = listed.ask(FILE)
    assert answer.status == 502
    assert "not the ones that were allowed" in answer.json()["detail"]
    assert listed.control.fetches == []
    assert list(listed.scratch.iterdir()) == []
    assert listed.route.counts.of("files", "wrong-bytes") == 1
    listed.registry.put_pypi(TIDY, {NAME: DATA})
    assert listed.ask(FILE).body == DATA


def test_without_a_record_nothing_is_served(listed):
    assert listed.ask(FILE).status == 200
    listed.control.away = True
    answer = listed.ask(FILE)
    assert answer.status == 503
    assert "nothing is served without its record" in answer.json()["detail"]
    listed.control.away = False
    assert listed.ask(FILE).status == 200


def test_many_who_ask_for_one_file_have_it_fetched_once(listed):
    listed.registry.slow = 0.3
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: listed.ask(FILE), range(8)))
    assert {answer.body for answer in answers} == {DATA}
    assert len(listed.registry.asked) == 2, "the index once and the file once"
    assert len(listed.control.fetches) == 8


def test_a_project_that_is_stopped_meanwhile_gets_nothing(listed):
    listed.registry.go = threading.Event()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(listed.ask(FILE)))
    thread.start()
    listed.wait(lambda: bool(listed.registry.asked))
    listed.allow_nobody()
    listed.registry.go.set()
    thread.join()
    assert answers[0].status == 403
    assert listed.control.fetches == []
    assert listed.ask("/packages/pypi/simple/tidy/").status == 403


def test_without_lists_of_the_control_plane_everything_is_refused(tmp_path):
    with package_world(tmp_path, away=True, stale_seconds=5.0) as world:
        world.registry.put_pypi(TIDY, {NAME: DATA})
        for target in (FILE, "/packages/pypi/simple/tidy/", "/resources/x"):
            answer = world.ask(target)
            assert answer.status == 503
            assert "no lists yet" in answer.json()["detail"]
        world.control.away = False
        world.allow(TIDY)
        assert world.ask(FILE).status == 200
        world.control.away = True
        world.wait(lambda: (world.route.lists.age or 0) > 5)
        for target in (FILE, "/packages/pypi/simple/tidy/", "/resources/x"):
            answer = world.ask(target)
            assert answer.status == 503
            assert "has not heard from the control plane" in answer.json()["detail"]


def test_a_resource_is_read_within_its_size_and_digest(world):
    world.registry.put("/table.csv", b"a,b\n1,2\n")
    world.registry.put("/large", b"x" * 5000)
    world.allow(
        resources=(
            resource("table", f"{world.outside}/table.csv", sha256=sha256(b"a,b\n1,2\n")),
            resource("other", f"{world.outside}/table.csv", sha256="0" * 64),
            resource("large", f"{world.outside}/large", largest=4999),
        )
    )
    assert world.ask("/resources/table").body == b"a,b\n1,2\n"
    assert world.control.fetches[0]["kind"] == "resource"
    assert world.ask("/resources/other").status == 502
    assert world.ask("/resources/large").status == 502
    assert world.ask("/resources/unknown").status == 403
    assert world.ask("/resources/table", "HEAD").status == 403
    assert world.ask("/resources/table", "POST", body=b"x").status == 403


def test_the_caller_is_known_by_its_certificate(listed):
    status, body = listed.call("/packages/pypi/simple/tidy/", None, name="web")
    assert status == 403
    wanted = {"ecosystem": "pypi", "name": "tidy", "version": "1.0"}
    status, body = listed.call("/v1/resolve", wanted, name="packages")
    assert status == 403, body
    status, body = listed.call("/v1/resolve", wanted)
    assert status == 200


def test_a_registry_is_asked_what_a_version_is(world):
    world.registry.put_pypi(TIDY, {NAME: DATA})
    info = {"info": {"license_expression": "MIT", "summary": "Tidies."}}
    world.registry.put("/pypi/tidy/1.0/json", json.dumps(info).encode(), "application/json")
    source = archive(
        {
            "Tidy/DESCRIPTION": b"Package: Tidy\nVersion: 2.0\nTitle: A\n  title\nLicense: GPL-3\nImports: methods\n"
        }
    )
    world.registry.put("/cran/src/contrib/Archive/Tidy/Tidy_2.0.tar.gz", source)
    entry = {
        "name": "tidy",
        "version": "3.0",
        "build": "py_0",
        "sha256": "a" * 64,
        "size": 5,
        "depends": ["python"],
    }
    other = entry | {"version": "3.1"}
    repodata = {
        "packages": {"tidy-3.1-py_0.tar.bz2": other},
        "packages.conda": {"tidy-3.0-py_0.conda": entry},
    }
    world.registry.put("/conda/forge/noarch/repodata.json", json.dumps(repodata).encode(), "application/json")
    integrity = "sha512-" + "A" * 86 + "=="
    page = {
        "name": "@scope/tidy",
        "version": "4.0.0",
        "license": "ISC",
        "dependencies": {"a": "^1"},
        "dist": {"tarball": f"{world.outside}/npm/@scope/tidy/-/tidy-4.0.0.tgz", "integrity": integrity},
    }
    world.registry.put("/npm/@scope%2ftidy/4.0.0", json.dumps(page).encode(), "application/json")

    def resolved(ecosystem, name, version, channel=""):
        wanted = {"ecosystem": ecosystem, "name": name, "version": version, "channel": channel}
        status, body = world.call("/v1/resolve", wanted)
        assert status == 200, body
        return body["package"]

    pypi = resolved("pypi", "tidy", "1.0")
    assert (pypi["licence"], pypi["files"][0]["digests"]) == ("MIT", [f"sha256:{sha256(DATA)}"])
    cran = resolved("cran", "Tidy", "2.0")
    assert (cran["licence"], cran["facts"]) == ("GPL-3", {"Imports": "methods"})
    assert cran["files"][0]["digests"] == [f"sha256:{sha256(source)}"]
    conda = resolved("conda", "tidy", "3.0", "forge")
    assert [(one["subdir"], one["name"]) for one in conda["files"]] == [("noarch", "tidy-3.0-py_0.conda")]
    assert json.loads(conda["facts"]["depends"]) == {"noarch/tidy-3.0-py_0.conda": ["python"]}
    npm = resolved("npm", "@scope/tidy", "4.0.0")
    assert npm["files"][0] == {
        "name": "tidy-4.0.0.tgz",
        "digests": ["sha512:" + "00" * 64],
        "size": None,
        "subdir": "",
    }
    status, body = world.call("/v1/resolve", {"ecosystem": "pypi", "name": "tidy", "version": "9"})
    assert (status, body["detail"]) == (404, "The registry has no version 9 of 'tidy'.")
    assert world.call("/v1/resolve", {"ecosystem": "pypi", "name": "../x", "version": "9"})[0] == 422


def test_a_gateway_without_a_package_route_says_so(tmp_path):
    with gateway_rig(tmp_path) as gateway:
        answer = gateway.ask("GET", FILE, "e30.e30.x")
        assert answer.status == 404
        assert "no package route" in answer.json()["detail"]
        assert gateway.judge.asked == 0


def test_a_package_route_that_is_away_is_told_as_such(tmp_path):
    judge = Told({"e30.e30.x": review()})
    with gateway_rig(tmp_path, judge, packages="https://localhost:1") as gateway:
        answer = gateway.ask("GET", FILE, "e30.e30.x")
        assert answer.status == 503
        assert "package route cannot be reached" in answer.json()["detail"]
        judge.answers["e30.e30.i"] = review(account="importer", pod="import-1", number=2)
        assert gateway.ask("GET", FILE, "e30.e30.i").status == 403, "an importer fetches nothing"
        assert gateway.ask("GET", FILE).status == 401


@pytest.mark.timeout(60)
def test_the_command_serves_says_how_it_is_and_ends_in_peace(world, tmp_path):
    """`broch serve packages`, as the chart starts it, beside the one of this test."""
    environment = os.environ | {
        "BROCH_TLS": str(tmp_path / "packages-tls"),
        "BROCH_SECRETS": str(tmp_path / "secrets"),
        "BROCH_PACKAGES_CONTROL_PLANE": "https://localhost:1",
        "BROCH_PACKAGES_LISTEN": "127.0.0.1",
        "BROCH_PACKAGES_PORT": "0",
        "BROCH_PACKAGES_OWN_PORT": "0",
        "BROCH_PACKAGES_SCRATCH": str(tmp_path / "other"),
        "BROCH_PACKAGES_NPM": "null",
        "BROCH_LOG_FORMAT": "json",
    }
    program = [Path(sys.executable).with_name("broch"), "serve", "packages"]
    process = subprocess.Popen(program, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        lines = (json.loads(line) for line in process.stderr if line.startswith("{"))
        told = next(line for line in lines if line["event"] == "packages.listens")
        context = ssl.create_default_context(cafile=tmp_path / "tls" / "ca.crt")
        for path, said in (("/healthz", b"ok"), ("/metrics", b"broch_packages_lists_age_seconds -1")):
            connection = http.client.HTTPSConnection(
                "localhost", told["own_port"], context=context, timeout=10
            )
            connection.request("GET", path)
            assert said in connection.getresponse().read()
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()


def test_the_forwarder_passes_packages_and_nothing_else(listed, tmp_path):
    def asked(path):
        connection = http.client.HTTPConnection(listed.inside.removeprefix("http://"), timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.reason, answer.read()

    assert asked(FILE)[2] == DATA
    assert asked("/door/v1/imports")[0] == 404
    assert asked("/packages/%2e%2e/door/v1/imports")[0] == 403
    (tmp_path / "token").write_text("e30.e30.another")
    assert asked(FILE)[0] == 401, "the token is read at each request"
    (tmp_path / "token").unlink()
    assert asked(FILE)[0] == 502


def test_a_workspace_without_a_package_route_is_left_alone(listed):
    module = inside_module()
    port = listed.forwarder.server_address[1]
    for environment in ({}, {"BROCH_PACKAGES": "1"}, {"BROCH_PACKAGES": "1", "BROCH_DOOR_URL": "http://x"}):
        before = dict(environment)
        assert module.start(environment, 0) is None
        assert environment == before
    taken = {"BROCH_PACKAGES": "1", "BROCH_DOOR_URL": "https://x", "BROCH_DOOR_TOKEN_FILE": "/x"}
    assert module.start(taken, port) is None, "the port is taken"
    assert "PIP_INDEX_URL" not in taken


def test_what_a_running_kernel_installs_into_an_empty_home_is_found_by_it(tmp_path):
    environment = {
        "BROCH_PACKAGES": "1",
        "BROCH_DOOR_URL": "https://x",
        "BROCH_DOOR_TOKEN_FILE": "/x",
        "HOME": str(tmp_path),
    }
    server = inside_module().start(environment, 0)
    server.shutdown()
    server.server_close()
    code = (
        "import os, pathlib, json\n"
        "(pathlib.Path(os.environ['PYTHONPATH']) / 'tidy.py').write_text('VERSION = 1')\n"
        "import tidy; print(tidy.VERSION)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "1\n", done.stderr


def test_the_route_says_how_it_is(listed):
    listed.ask(FILE)
    assert listed.route.counts.of("served", "pypi") == 1
    text = listed.route.counts.text(under_way=0, scratch_bytes=1, lists_age=1.0)
    assert 'broch_packages_served_total{kind="pypi"} 1' in text
