"""Registries that answer with JSON of another form than their documents say: read for what it is, or refused in words."""

import json

import pytest

from broch_workspaces.packages.spec import Ecosystem
from support.packages import package, wheel

NAME, DATA = wheel("tidy", "1.0")
TIDY = package(Ecosystem.PYPI, "tidy", "1.0", (NAME, DATA))


@pytest.mark.parametrize("odd", [None, 1, "x", [1], {"a": 1}, True], ids=str)
def test_a_registry_that_answers_odd_json_is_refused_in_words_or_read_for_what_it_is(world, odd):
    world.registry.put_pypi(TIDY, {NAME: DATA})
    info = dict.fromkeys(("license_expression", "classifiers", "license", "summary"), odd)
    world.registry.put("/pypi/tidy/1.0/json", json.dumps({"info": info}).encode(), "application/json")
    status, body = world.call("/v1/resolve", {"ecosystem": "pypi", "name": "tidy", "version": "1.0"})
    assert status == 200, body
    assert body["package"]["licence"] == (odd if isinstance(odd, str) else "")
    for page in (
        {"version": "4.0.0", "dist": odd},
        {"version": "4.0.0", "dist": {"integrity": odd, "tarball": odd}},
        {"version": "4.0.0", "dist": {"integrity": "sha512-" + "A" * 86 + "==", "tarball": odd}},
        {"version": odd},
    ):
        world.registry.put("/npm/tidy/4.0.0", json.dumps(page).encode(), "application/json")
        status, body = world.call("/v1/resolve", {"ecosystem": "npm", "name": "tidy", "version": "4.0.0"})
        named = (
            isinstance(odd, str) and isinstance(page.get("dist"), dict) and page["dist"]["integrity"] != odd
        )
        assert status == (200 if named else 502), body
    entry = {"name": "tidy", "version": "3.0", "build": odd, "sha256": odd, "size": odd, "depends": odd}
    repodata = {"packages.conda": {"tidy-3.0-py_0.conda": entry}}
    world.registry.put("/conda/forge/noarch/repodata.json", json.dumps(repodata).encode(), "application/json")
    wanted = {"ecosystem": "conda", "name": "tidy", "version": "3.0", "channel": "forge"}
    status, body = world.call("/v1/resolve", wanted)
    assert status == 502, body


@pytest.mark.parametrize("odd", [1, "x", [1], True], ids=str)
def test_an_index_of_pypi_that_is_something_else_is_refused_in_words(world, odd):
    kind = "application/vnd.pypi.simple.v1+json"
    world.registry.put("/simple/tidy/", json.dumps({"files": odd}).encode(), kind)
    status, _ = world.call("/v1/resolve", {"ecosystem": "pypi", "name": "tidy", "version": "1.0"})
    assert status in (404, 502)
