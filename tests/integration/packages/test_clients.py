"""Real package managers in a workspace's environment, through forwarder, gateway and route, to registries of the test."""

import asyncio
import json
import os
import subprocess
import sys

import pytest
import rattler

from broch_spawner.lab_files import R_PROFILE, image_files
from broch_workspaces.packages.spec import Ecosystem
from support.packages import archive, inside_module, package, wheel


@pytest.fixture
def tools(world, tmp_path):
    """Return what runs a command as a kernel of the workspace would."""
    home = tmp_path / "home"
    home.mkdir()
    module = inside_module()
    told = {
        name: value.replace(module.ADDRESS, world.inside)
        for name, value in module.settings_of_tools(str(home)).items()
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **told}
    world.home = home

    def run(*command, **more):
        return subprocess.run(
            command,
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=home,
            check=False,
        )

    return run


def pip(tools, *words, **more):
    return tools(sys.executable, "-m", "pip", "install", "--no-cache-dir", *words, **more)


def installed(tools, world, code):
    found = tools(sys.executable, "-c", code)
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def test_pip_installs_what_is_listed_into_the_home_and_says_what_was_meant(world, tools):
    name, data = wheel("tidy", "1.0")
    newer, other = wheel("tidy", "2.0")
    listed = package(Ecosystem.PYPI, "tidy", "1.0", (name, data))
    world.registry.put_pypi(listed, {name: data, newer: other})
    world.allow(common=(listed,))
    done = pip(tools, "tidy", PIP_PREFIX=str(world.home / ".local"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(tools, world, "import tidy; print(tidy.VERSION, tidy.__file__)").startswith(
        f"1.0 {world.home}/.local/"
    ), "the listed version, though the registry has a newer one"
    assert len(world.control.fetches) == 1

    asked = len(world.registry.asked)
    wrong = pip(tools, "tdiy")
    assert wrong.returncode != 0
    assert "'tdiy' is not on the list of this project. Did you mean 'tidy'?" in wrong.stdout + wrong.stderr
    assert pip(tools, "tidy==2.0").returncode != 0
    assert len(world.registry.asked) == asked, "neither was asked for outside"


def test_pip_installs_a_local_version_whose_plus_it_writes_in_another_way(world, tools):
    name, data = wheel("tidy", "1.0+cpu")
    listed = package(Ecosystem.PYPI, "tidy", "1.0+cpu", (name, data))
    world.registry.put_pypi(listed, {name: data})
    world.allow(common=(listed,))
    done = pip(tools, "tidy==1.0+cpu", PIP_PREFIX=str(world.home / ".local"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(tools, world, "import tidy; print(tidy.VERSION)") == "1.0+cpu"


def test_pip_is_told_when_the_registry_changed_the_bytes(world, tools):
    name, data = wheel("tidy", "1.0")
    listed = package(Ecosystem.PYPI, "tidy", "1.0", (name, data))
    world.registry.put_pypi(listed, {name: wheel("tidy", "1.0", filler=b"evil")[1]})
    world.allow(listed)
    done = pip(tools, "--retries", "0", "tidy")
    assert done.returncode != 0
    assert "The registry's bytes are not the ones that were allowed" in done.stdout + done.stderr


def test_npm_installs_what_is_listed_and_says_what_was_meant(world, tools):
    def made(name, **more):
        manifest = {"name": name, "version": "1.0.0", "main": "index.js", **more}
        return archive(
            {
                "package/package.json": json.dumps(manifest).encode(),
                "package/index.js": f"module.exports = '{name}'\n".encode(),
            }
        )

    plain, scoped = made("tidy", dependencies={"@scope/inner": "^1.0.0"}), made("@scope/inner")
    world.registry.put("/npm/tidy/-/tidy-1.0.0.tgz", plain)
    world.registry.put("/npm/@scope/inner/-/inner-1.0.0.tgz", scoped)
    facts = {"dependencies": json.dumps({"@scope/inner": "^1.0.0"})}
    world.allow(
        package(Ecosystem.NPM, "tidy", "1.0.0", ("tidy-1.0.0.tgz", plain), facts=facts),
        package(Ecosystem.NPM, "@scope/inner", "1.0.0", ("inner-1.0.0.tgz", scoped)),
    )
    done = tools("npm", "install", "tidy", "--no-fund")
    assert done.returncode == 0, done.stdout + done.stderr
    assert tools("node", "-p", "require('tidy') + require('@scope/inner')").stdout == "tidy@scope/inner\n"
    assert {one["name"] for one in world.control.fetches} == {"tidy", "@scope/inner"}
    wrong = tools("npm", "install", "tdiy", "--no-fund")
    assert "'tdiy' is not on the list of this project. Did you mean 'tidy'?" in wrong.stdout + wrong.stderr


def test_r_installs_what_is_listed(world, tools, tmp_path):
    description = (
        "Package: tidy\nVersion: 1.0\nTitle: Tidies\nDescription: Tidies.\nLicense: MIT\nAuthor: A\n"
        "Maintainer: A <a@example.org>\nNeedsCompilation: no\n"
    )
    data = archive(
        {
            "tidy/DESCRIPTION": description.encode(),
            "tidy/NAMESPACE": b"export(answer)\n",
            "tidy/R/answer.R": b"answer <- function() 42\n",
        }
    )
    world.registry.put("/cran/src/contrib/tidy_1.0.tar.gz", data)
    world.allow(package(Ecosystem.CRAN, "tidy", "1.0", ("tidy_1.0.tar.gz", data)))
    text = next(file.data for file in image_files() if file.path == R_PROFILE).decode()
    profile = tmp_path / "Rprofile"
    profile.write_text(text.replace(inside_module().ADDRESS, world.inside))
    more = {"R_PROFILE": str(profile)}
    done = tools("Rscript", "-e", "install.packages('tidy'); cat(tidy::answer(), .libPaths()[1])", **more)
    assert done.stdout.endswith(f"42 {world.home}/R/library"), done.stdout + done.stderr
    assert world.control.fetches[0]["ecosystem"] == "cran"


def test_a_solver_of_conda_finds_and_fetches_what_is_listed(world, tools, tmp_path):
    index = {
        "name": "tidy",
        "version": "1.0",
        "build": "0",
        "build_number": 0,
        "noarch": "generic",
        "subdir": "noarch",
        "arch": None,
        "platform": None,
        "depends": [],
    }
    paths = {"paths": [], "paths_version": 1}
    data = archive(
        {
            "info/index.json": json.dumps(index).encode(),
            "info/paths.json": json.dumps(paths).encode(),
            "info/files": b"",
        },
        "bz2",
    )
    file = "tidy-1.0-0.tar.bz2"
    world.registry.put(f"/conda/forge/noarch/{file}", data)
    key = f"noarch/{file}"
    facts = {name: json.dumps({key: index[name]}) for name in ("depends", "build", "build_number", "noarch")}
    world.allow(
        package(Ecosystem.CONDA, "tidy", "1.0", (file, data), channel="forge", subdir="noarch", facts=facts)
    )

    async def install():
        found = await rattler.solve(
            [rattler.Channel(f"{world.inside}/packages/conda/forge")],
            ["tidy"],
            platforms=["linux-64", "noarch"],
            gateway=rattler.Gateway(cache_dir=tmp_path / "cache"),
        )
        await rattler.install(
            found, target_prefix=tmp_path / "prefix", cache_dir=tmp_path / "cache", show_progress=False
        )

    asyncio.run(install())
    assert (tmp_path / "prefix/conda-meta/tidy-1.0-0.json").exists()
    assert world.control.fetches[0]["ecosystem"] == "conda"
    assert world.registry.asked == [f"/conda/forge/noarch/{file}"]
