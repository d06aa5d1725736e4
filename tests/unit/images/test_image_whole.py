"""Images as a whole: what images.toml says, the layout on disk, our own layer, the locks."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from broch.dev.__main__ import _parser as developers_parser
from broch.dev.images import USUAL, contents, locks, oci
from broch.dev.images.layers import text, write_layer
from broch.dev.images.spec import Images, UnknownImage, load
from broch_spawner.lab_files import image_files

ROOT = Path(__file__).parents[3]
EPOCH = 1_760_000_000
IMAGES = load(ROOT)
CONTAINERFILE = (ROOT / "workspaces/images/Containerfile").read_text().replace("\\\n", " ")


def stage(name):
    """Return the lines of one stage of the Containerfile, with those of the stages that it is made from."""
    found = re.search(rf"^FROM (\S+) AS {name}\n(.*?)(?=^FROM |\Z)", CONTAINERFILE, re.MULTILINE | re.DOTALL)
    below = "" if found[1] == "${DEBIAN}" else stage(found[1])
    return below + found[2]


@pytest.mark.parametrize("name", IMAGES.images)
def test_the_containerfile_makes_what_images_toml_says(name):
    image, lines = IMAGES.images[name], stage(name)
    installed = set()
    for command in re.findall(r"debian\.sh ([^\n&]*)", lines):
        installed |= set(command.split())
    assert installed == {*IMAGES.debian.packages, *image.packages}
    assert re.findall(r"^ENTRYPOINT (.*)$", lines, re.MULTILINE)[-1] == json.dumps(list(image.entrypoint))
    assert re.findall(r"^USER (.*)$", lines, re.MULTILINE)[-1] == oci.UID
    assert f"account.sh {image.login} {image.home} " in lines
    environments = re.findall(r"--from=environment-(\S+)", lines)
    assert environments == ([image.environment] if image.environment else [])
    assert re.findall(r"^VOLUME (.*)$", lines, re.MULTILINE) == list(image.volumes)
    config = oci.config(image, [], architecture="amd64", epoch=EPOCH, labels={})["config"]
    for variable in config["Env"]:
        assert variable in lines


@pytest.mark.parametrize("name", IMAGES.environments)
def test_the_containerfile_takes_each_environment_from_its_lock(name):
    wanted = [f"locks/{one}.lock" for one in IMAGES.stack(name)]
    assert re.findall(r"locks/\S+\.lock", stage(f"environment-{name}")) == wanted


def changed(**sections):
    return Images.model_validate(IMAGES.model_dump() | sections)


def test_an_environment_cannot_stand_on_itself():
    assert changed(environments=IMAGES.model_dump()["environments"])
    round_about = {"a": {"on": "b"}, "b": {"on": "a"}}
    with pytest.raises(ValueError, match="stands on itself"):
        changed(environments=round_about, images={})


def test_an_image_cannot_name_an_environment_that_is_not_there():
    image = IMAGES.images["workspace-base"].model_dump() | {"environment": "none"}
    with pytest.raises(ValueError, match="is not there"):
        changed(images={"x": image})


def test_an_unknown_image_is_named_with_those_that_exist():
    assert IMAGES.chosen(("broch", "clamav", "broch")) == ("broch", "clamav")
    with pytest.raises(UnknownImage, match=r"no such image: broth .*workspace-r"):
        IMAGES.chosen(("broth", "clamav"))


@pytest.fixture
def layout(tmp_path):
    layers = [write_layer({name: text(name)}, tmp_path / name, EPOCH) for name in ("one", "two")]
    configuration = oci.config(
        IMAGES.images["broch"], layers, architecture="amd64", epoch=EPOCH, labels={"org.x": "y"}
    )
    digest = oci.Layout(tmp_path / "layout").write(configuration, layers, {oci.SBOM_ANNOTATION: "sha256:0"})
    return tmp_path / "layout", digest, layers


def blob(folder, digest):
    return (folder / "blobs" / digest.replace(":", "/")).read_bytes()


def test_a_layout_leads_from_its_index_to_every_layer(layout):
    folder, digest, layers = layout
    (pointed,) = json.loads((folder / "index.json").read_text())["manifests"]
    assert pointed["digest"] == digest
    manifest = json.loads(blob(folder, digest))
    assert [layer["digest"] for layer in manifest["layers"]] == [layer.digest for layer in layers]
    configuration = json.loads(blob(folder, manifest["config"]["digest"]))
    assert configuration["rootfs"]["diff_ids"] == [layer.diff_id for layer in layers]
    assert manifest["annotations"] == {oci.SBOM_ANNOTATION: "sha256:0"}


def test_every_file_of_a_layout_is_named_by_what_it_holds(layout):
    folder, _, _ = layout
    blobs = list((folder / "blobs/sha256").iterdir())
    assert len(blobs) == 4
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in blobs)


def again(layout, layers, label):
    configuration = oci.config(
        IMAGES.images["broch"], layers, architecture="amd64", epoch=EPOCH, labels={"org.x": label}
    )
    return oci.Layout(layout).write(configuration, layers, {oci.SBOM_ANNOTATION: "sha256:0"})


def test_who_reads_an_image_keeps_reading_it_while_it_is_made_again(layout):
    folder, digest, layers = layout
    before = (folder / "index.json").stat().st_ino
    assert again(folder, layers, "y") == digest
    assert (folder / "index.json").stat().st_ino == before
    assert again(folder, layers, "z") != digest
    assert (folder / "index.json").stat().st_ino != before
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_an_image_that_lost_a_file_is_made_whole(layout):
    folder, digest, layers = layout
    lost = folder / "blobs" / layers[0].digest.replace(":", "/")
    lost.unlink()
    assert again(folder, layers, "y") == digest
    assert lost.exists()


@pytest.mark.parametrize("name", IMAGES.images)
def test_every_image_runs_as_nobody_of_the_machine(name):
    settings = oci.config(IMAGES.images[name], [], architecture="amd64", epoch=EPOCH, labels={})["config"]
    assert settings["User"] == "1000:1000"


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    """Our own packages as the image `broch` has them."""
    place = tmp_path_factory.mktemp("services")
    script = ROOT / "workspaces/images/steps/services.py"
    subprocess.run([sys.executable, "-I", script, ROOT, place / "site", place / "bin"], check=True)
    return place


def test_the_services_have_no_demo_and_no_tools_of_developers(services):
    site = services / "site"
    for folder in ("broch/demo", "broch/dev", "broch_api/signin/demo"):
        assert (ROOT / "api" / folder).exists()
        assert not (site / folder).exists()
    assert not list(site.rglob("*.pyc"))


@pytest.mark.parametrize(
    "package", ["broch", "broch_core", "broch_api", "broch_airlock", "broch_spawner", "broch_workspaces"]
)
def test_the_services_have_every_file_of_our_packages(services, package):
    (source,) = (path.parent for path in ROOT.glob(f"*/{package}/__init__.py"))

    def files(root):
        listed = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        return {
            name
            for name in listed
            if "__pycache__" not in name and not name.startswith(("demo/", "dev/", "signin/demo/"))
        }

    found = files(services / "site" / package)
    assert found == files(source)
    assert found


def test_the_command_is_there_under_its_name(services):
    assert (services / "bin/broch").stat().st_mode & 0o777 == 0o755
    assert "from broch.cli.main import main" in (services / "bin/broch").read_text()


def test_the_name_and_version_of_the_services_can_be_asked_for(services):
    code = "import sys, importlib.metadata as m; sys.path[:0] = [sys.argv[1]]; print(m.version('broch'))"
    program = [sys.executable, "-S", "-I", "-c", code, services / "site"]
    assert subprocess.run(program, check=True, capture_output=True, text=True).stdout == "0.1.0\n"


def test_the_last_layer_of_a_workspace_holds_what_one_machine_shows(tmp_path):
    debian = {"etc/passwd": text("root:x:0:0:root:/root:/bin/bash\n"), "etc/group": text("root:x:0:\n")}
    image = IMAGES.images["workspace-python"]
    tree = contents.make(ROOT, image, debian, tmp_path, tmp_path, "3.11")
    for file in image_files():
        assert tree[file.path.lstrip("/")].piece.read() == file.data
    assert tree["opt/broch/bin/airlock"].mode == 0o755
    assert tree["opt/broch/lab.py"].mode == 0o644
    assert tree["etc/passwd"].piece.read().decode().splitlines()[1] == (
        "researcher:x:1000:1000::/home/researcher:/bin/bash"
    )
    home = tree["home/researcher"]
    assert (home.kind, home.uid, home.mode) == ("folder", 1000, 0o700)
    assert {"data", "imports", "project"} <= set(tree)


def test_the_locks_of_this_checkout_are_what_images_ask_for():
    assert locks.problems(ROOT) == []


@pytest.fixture
def copy(tmp_path):
    for name in ("pyproject.toml", "requirements.lock", "workspaces/images/images.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "workspaces/images/locks", tmp_path / "workspaces/images/locks")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (
            "pyproject.toml",
            '"uvicorn[standard]>=0.35"',
            '"uvicorn[standard]>=0.36"',
            "broch.lock was made from other",
        ),
        (
            "workspaces/images/images.toml",
            "torch>=2.8",
            "torch>=2.9",
            "workspace-gpu.lock was made from other",
        ),
        ("workspaces/images/locks/broch.lock", "aiohttp==3", "aiohttp==4", "broch.lock pins aiohttp 4"),
        (
            "workspaces/images/locks/broch.lock",
            "--hash=sha256:",
            "--hash=md5:",
            "broch.lock has no hash for aiodns",
        ),
        (
            "workspaces/images/locks/broch.lock",
            "aiodns==",
            "x @ https://example.org/x.whl\naiodns==",
            "an address",
        ),
    ],
    ids=["services' dependencies", "an environment's", "another version", "weak hash", "address"],
)
def test_a_lock_that_says_otherwise_is_named(copy, name, old, new, said):
    assert locks.problems(copy) == []
    content = (copy / name).read_text()
    assert old in content
    # Every hash of the first pin, one place otherwise.
    count = 2 if "hash" in old else 1
    (copy / name).write_text(content.replace(old, new, count))
    assert any(said in problem for problem in locks.problems(copy))


def test_the_document_names_every_image_and_commands_that_are_understood():
    document = (ROOT / "docs/images.md").read_text()
    assert set(re.findall(r"^\| `([a-z-]+)` \|", document, re.MULTILINE)) == set(IMAGES.images)
    shown = re.findall(r"^\./broch (images build.*?)(?:  +# (.*))?$", document, re.MULTILINE)
    assert len(shown) == 2
    for command, _ in shown:
        assert IMAGES.chosen(tuple(developers_parser().parse_args(command.split()).names)) is not None
    assert tuple(shown[0][1].split()) == USUAL
