"""The images as they are built: what is in them, what is not, and that they start as a cluster starts them."""

from __future__ import annotations

import hashlib
import json
import stat
import tarfile
from pathlib import Path

import pytest

from broch.dev import images
from broch.dev.images import OciImage, cache, contents, debian, oci, python
from broch.dev.images.build import Builder
from broch.dev.images.layers import write_layer
from support.counts import NIGHTLY
from support.image_inside import Inside, configuration, manifest, members, traces

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ("workspace-base", "workspace-python")


@pytest.fixture(scope="session")
def built() -> dict[str, OciImage]:
    return images.build(images.USUAL)


@pytest.fixture(scope="session")
def inside(built, tmp_path_factory):
    """Return images as folders, by name."""
    made: dict[str, Inside] = {}

    def one(name: str) -> Inside:
        if name not in made:
            made[name] = Inside(built[name], tmp_path_factory.mktemp(name))
        return made[name]

    return one


@pytest.mark.parametrize("name", images.USUAL)
def test_nothing_in_an_image_becomes_somebody_else(built, name):
    found = members(built[name])
    assert len(found) > 5000
    assert [path for path, one in found.items() if one.mode & (stat.S_ISUID | stat.S_ISGID)] == []
    assert {one.type for one in found.values()} <= {tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE}
    # Written by everybody: folders for temporary files alone, where nobody removes what is not theirs.
    open_to_all = {path: one.mode for path, one in found.items() if one.mode & 0o002 and not one.issym()}
    assert set(open_to_all) <= {"tmp", "var/tmp", "run/lock"}
    assert all(mode & stat.S_ISVTX for mode in open_to_all.values())


@pytest.mark.parametrize("name", images.USUAL)
def test_an_image_names_no_machine_and_installs_nothing(built, name):
    found = members(built[name])
    assert "usr/bin/python3" in found
    for path in (
        "etc/hostname",
        "etc/resolv.conf",
        "etc/apt/sources.list",
        "etc/machine-id",
        "usr/bin/apt-get",
    ):
        assert path not in found
    # A workspace has pip for its package route, in the environment that nobody can write; services have none.
    tools = {path for path in found if Path(path).name in {"pip", "pip3", "uv"}}
    assert ("opt/venv/bin/pip" in tools) == name.startswith("workspace")
    assert all(path.startswith("opt/venv/") for path in tools)
    assert tools == set() or name.startswith("workspace")


@pytest.mark.parametrize("name", images.USUAL)
def test_the_checkout_that_made_an_image_does_not_show_in_it(built, name):
    assert traces(built[name]) == []


@pytest.mark.parametrize("name", images.USUAL)
def test_the_components_beside_an_image_are_those_that_it_was_signed_with(built, name):
    content = built[name].sbom.read_bytes()
    assert (
        manifest(built[name])["annotations"][oci.SBOM_ANNOTATION]
        == f"sha256:{hashlib.sha256(content).hexdigest()}"
    )
    listed = {one["name"] for one in json.loads(content)["components"]}
    own = {"broch": "kubernetes", "clamav": "clamav-daemon", "workspace-python": "pandas"}.get(
        name, "jupyterlab"
    )
    assert {"libc6", "python3", own} <= listed
    assert ("broch" in listed) == (name == "broch")


@pytest.mark.parametrize("name", images.USUAL)
def test_every_module_that_is_loaded_has_byte_code(built, name):
    found = members(built[name])
    for module in ("usr/lib/python3.11/ssl", "opt/venv/lib/python3.11/site-packages/jupyterhub/app"):
        folder, _, base = module.rpartition("/")
        if f"{module}.py" in found:
            assert f"{folder}/__pycache__/{base}.cpython-311.pyc" in found


def test_the_demo_is_in_no_image(built, inside):
    assert [path for path in members(built["broch"]) if "/broch/demo" in path or "/broch/dev" in path] == []
    for module in ("broch.demo", "broch.dev"):
        refused = inside("broch").python(f"import {module}")
        assert f"No module named '{module}'" in refused.stderr
    assert inside("broch").python("import broch.cli.main").returncode == 0


def test_the_command_answers_as_the_image_starts_it(inside):
    entry = configuration(inside("broch").image)["config"]["Entrypoint"]
    assert inside("broch").run(*entry, "--version").stdout == "broch 0.1.0\n"


@pytest.mark.parametrize(
    "module",
    [
        "broch_airlock.checks.inside.__main__",
        "broch_airlock.viewer.render.inside",
        "broch_airlock.assembly_review",
        "broch_api.assembly_runtime",
        "broch_spawner.hub_config",
        "kubernetes.aio, jupyterhub.app, boto3, psycopg, keycloak, authlib",
    ],
)
def test_the_services_find_what_they_need(inside, module):
    done = inside("broch").python(f"import {module}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["broch", *NOTEBOOKS])
def test_every_library_of_an_environment_finds_those_that_it_needs(inside, name):
    command = "find /opt/venv -name '*.so*' -type f ! -path '*.libs/*' | xargs ldd"
    listed = inside(name).run("/bin/sh", "-c", command).stdout
    assert "libc.so.6 => /lib" in listed
    assert {line for line in listed.splitlines() if "not found" in line} == set()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_workspace_is_somebody_with_a_home_and_finds_its_command(inside, name):
    done = inside(name).run("/bin/sh", "-c", "id -un; id -u; echo $HOME; airlock --help; touch /opt/x")
    assert done.stdout.startswith("researcher\n1000\n/home/researcher\nusage: airlock")
    assert "Read-only file system" in done.stderr


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_workspace_has_jupyterlab_and_a_kernel(inside, name):
    done = inside(name).python(
        "import jupyterlab, jupyterhub.singleuser, ipykernel.kernelspec, jupyter_client.kernelspec as k;"
        "print(*k.KernelSpecManager().find_kernel_specs())",
        HOME="/tmp",
    )
    assert done.stdout == "python3\n", done.stderr


def test_workspaces_have_what_they_are_named_for(inside):
    code = "import pandas, sklearn, matplotlib, pydicom, ipywidgets"
    assert inside("workspace-python").python(code, HOME="/tmp").returncode == 0
    assert "No module named 'pandas'" in inside("workspace-base").python(code).stderr


def test_the_scanner_and_what_brings_signatures_are_there(inside):
    scanner = inside("clamav")
    assert scanner.run("clamd", "--version").stdout.startswith("ClamAV 1.")
    assert scanner.run("freshclam", "--version").stdout.startswith("ClamAV 1.")
    assert (scanner.root / "var/lib/clamav").is_dir()


def test_images_share_the_layer_below_them_all(built):
    assert len({manifest(built[name])["layers"][0]["digest"] for name in images.USUAL}) == 1
    base, python = (manifest(built[name])["layers"][1]["digest"] for name in NOTEBOOKS)
    assert base == python


def test_our_own_layer_comes_out_the_same_twice(built, tmp_path):
    builder = Builder(ROOT, cache.Cache(cache.place()))
    image_root, image = builder.unpacked(), builder.images.images["broch"]
    debian_tree = debian.tree(builder.debian_root() / "root.tar")

    def made(name: str) -> str:
        work = tmp_path / name
        work.mkdir()
        tree = contents.make(ROOT, image, debian_tree, work, image_root, python.version_of(image_root))
        return write_layer(tree, tmp_path / f"{name}.layer", builder.images.epoch).diff_id

    assert made("first") == made("second")


@pytest.mark.skipif(not NIGHTLY, reason="nightly: everything is made anew, twice")
@pytest.mark.timeout(3600)
def test_the_same_checkout_makes_the_same_images(tmp_path):
    first, second = (images.build(images.USUAL, tmp_path / name, fresh=True) for name in ("one", "two"))
    assert {name: one.digest for name, one in first.items()} == {
        name: one.digest for name, one in second.items()
    }


@pytest.mark.skipif(not NIGHTLY, reason="some GB: built every night")
@pytest.mark.timeout(3600)
def test_the_images_for_r_and_for_gpus_are_built_and_start(tmp_path):
    made = images.build(("workspace-r", "workspace-gpu"), tmp_path / "out")
    r = Inside(made["workspace-r"], tmp_path / "r")
    kernels = r.python(
        "import jupyter_client.kernelspec as k; print(*sorted(k.KernelSpecManager().find_kernel_specs()))",
        HOME="/tmp",
    )
    assert kernels.stdout == "ir python3\n", kernels.stderr
    assert r.run("Rscript", "-e", "library(dplyr); library(IRkernel); cat('ok')").stdout == "ok"
    gpu = Inside(made["workspace-gpu"], tmp_path / "gpu")
    said = gpu.python(
        "import torch; print(torch.version.cuda is not None, torch.cuda.is_available())", HOME="/tmp"
    )
    assert said.stdout == "True False\n", said.stderr
