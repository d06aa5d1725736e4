"""What goes into images: where Debian comes from, what an environment is made of, the list of components."""

import csv
import json
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

from broch.dev.images import cache, debian, python, sbom
from broch.dev.images.layers import text
from broch.dev.images.oci import canonical

ROOT = Path(__file__).parents[3]
STEPS = ROOT / "workspaces/images/steps"

LISTING = """\
Debian\tbookworm\tmain\thttp://mirror.example/debian/
Debian\tbookworm\tcontrib\thttp://mirror.example/debian/
Debian\tbookworm-updates\tmain\thttp://mirror.example/debian/
Debian\tbookworm-security\tmain\thttp://mirror.example/debian-security/
Debian\tsid\tmain\thttp://mirror.example/debian/
Other vendor\tbookworm\tmain\thttp://vendor.example/tools/
"""


def test_debian_comes_from_where_this_machine_has_it_from():
    assert debian.sources(LISTING, "bookworm") == [
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/debian/ bookworm-updates main",
        "deb http://mirror.example/debian-security/ bookworm-security main",
    ]


def test_a_machine_of_another_release_has_no_mirror_to_offer():
    assert debian.sources(LISTING, "trixie") == []
    assert debian.sources("", "bookworm") == []


def test_before_the_first_update_debian_is_known_by_its_address():
    listing = LISTING.replace("Debian\t", "\t").replace("Other vendor\t", "\t")
    assert len(debian.sources(listing, "bookworm")) == 3


@pytest.fixture
def installed(tmp_path):
    """An environment as uv leaves it: everything below the modules."""
    site = tmp_path / "venv/lib/python3.11/site-packages"
    info = site / "thing-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "thing").mkdir()
    (site / "thing/__init__.py").write_text("")
    (site / "bin").mkdir()
    (site / "bin/thing").write_text("#!/somewhere/of/this/machine/bin/python\nimport thing\n")
    (site / "bin/shell").write_text("#!/bin/sh\n")
    (site / "share/jupyter").mkdir(parents=True)
    (site / "share/jupyter/x.json").write_text("{}")
    (info / "uv_cache.json").write_text("{}")
    rows = [
        ["thing/__init__.py", "sha256=a", "0"],
        ["bin/thing", "sha256=b", "1"],
        ["bin/shell", "sha256=b", "1"],
    ]
    rows += [["share/jupyter/x.json", "sha256=c", "2"], ["thing-1.0.dist-info/RECORD", "", ""]]
    rows += [["thing-1.0.dist-info/uv_cache.json", "sha256=d", "2"]]
    with (info / "RECORD").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    python.settle(site, tmp_path / "venv")
    return tmp_path / "venv", site


def test_what_packages_put_beside_modules_lies_in_the_environment(installed):
    venv, site = installed
    assert (venv / "share/jupyter/x.json").exists()
    assert sorted(path.name for path in site.iterdir()) == ["thing", "thing-1.0.dist-info"]


def test_a_command_starts_the_python_of_the_image(installed):
    venv, _ = installed
    assert (venv / "bin/thing").read_text() == "#!/opt/venv/bin/python\nimport thing\n"
    assert (venv / "bin/shell").read_text() == "#!/bin/sh\n"


def test_the_record_names_files_where_they_are(installed):
    _, site = installed
    with (site / "thing-1.0.dist-info/RECORD").open(newline="") as file:
        named = [row[0] for row in csv.reader(file)]
    assert "../../../bin/thing" in named
    assert all((site / name).resolve().exists() for name in named)


def compiled(folder, *, hash_seed):
    subprocess.run(
        [sys.executable, "-I", STEPS / "bytecode.py", folder],
        check=True,
        env={"PYTHONHASHSEED": hash_seed},
    )
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.pyc"))}


def test_byte_code_is_the_same_each_time_and_never_looked_at_again(tmp_path):
    def made(name, hash_seed):
        package = tmp_path / name / "package"
        package.mkdir(parents=True)
        source = "import os\ndef f(self, name='os'):\n    return {'os', 'name', self}\nCODE = frozenset({'a', 'b'})\n"
        (package / "one.py").write_text(source)
        (package / "two.py").write_text(source.replace("f(", "g("))
        (package / "broken.py").write_text("print 'of old'\n")
        (tmp_path / name / "alone.py").write_text("X = 'os'\n")
        # At one place, as in an image: byte code names its source.
        here = tmp_path / "site"
        (tmp_path / name).rename(here)
        found = compiled(here, hash_seed=hash_seed)
        here.rename(tmp_path / name)
        return found

    first = made("first", "1")
    assert {name.split(".")[0] for name in first} == {"one", "two", "alone"}
    assert made("second", "2") == first
    # Flags of PEP 552: by hash, and not checked.
    assert {code[4:8] for code in first.values()} == {b"\x01\0\0\0"}


def test_byte_code_by_time_would_be_told_apart(tmp_path):
    (tmp_path / "one.py").write_text("")
    made = py_compile.compile(
        str(tmp_path / "one.py"), invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP
    )
    assert Path(made).read_bytes()[4:8] == b"\0\0\0\0"


STATUS = """\
Package: libssl3
Status: install ok installed
Architecture: amd64
Source: openssl (3.0)
Version: 3.0.16-1~deb12u1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: git
Status: install ok installed
Architecture: amd64
Version: 1:2.39.5-0+deb12u2
"""


def test_the_components_are_those_that_are_installed():
    found = sbom.debian_packages(STATUS, "bookworm")
    assert [(one["name"], one["version"]) for one in found] == [
        ("libssl3", "3.0.16-1~deb12u1"),
        ("git", "1:2.39.5-0+deb12u2"),
    ]
    assert found[0]["properties"] == [{"name": "broch:debian:source", "value": "openssl"}]
    assert found[1]["purl"] == "pkg:deb/debian/git@1%3A2.39.5-0%2Bdeb12u2?arch=amd64&distro=bookworm"


def test_the_version_of_a_package_that_is_not_installed_cannot_be_asked_for():
    assert sbom.version_of(STATUS, "git") == "1:2.39.5-0+deb12u2"
    with pytest.raises(KeyError):
        sbom.version_of(STATUS, "gone")


def test_python_components_are_read_from_what_they_say_of_themselves():
    site = "opt/venv/lib/python3.11/site-packages"
    tree = {
        f"{site}/Some_Thing-2.dist-info/METADATA": text(
            "Metadata-Version: 2.4\nName: Some_Thing\nVersion: 2\nLicense-Expression: MIT\n\nVersion: 9\n"
        ),
        f"{site}/some_thing/METADATA": text("Name: no\nVersion: 1\n"),
    }
    assert sbom.python_packages(tree) == [
        {
            "type": "library",
            "name": "some-thing",
            "version": "2",
            "purl": "pkg:pypi/some-thing@2",
            "licenses": [{"expression": "MIT"}],
        }
    ]


def test_the_list_of_components_does_not_depend_on_their_order_and_names_each_once():
    parts = sbom.debian_packages(STATUS, "bookworm")
    one = sbom.document("x", "1", "2025-10-09T08:53:20Z", parts)
    other = sbom.document("x", "1", "2025-10-09T08:53:20Z", [*reversed(parts), *parts])
    assert canonical(one) == canonical(other)
    assert len(one["components"]) == 2
    assert one["components"][0]["bom-ref"] == one["components"][0]["purl"]


def test_what_was_made_is_kept_until_its_inputs_change(tmp_path):
    kept, made = cache.Cache(tmp_path / "cache"), []

    def make(folder):
        made.append(folder)
        (folder / "x").write_text("x")

    source = tmp_path / "source"
    source.write_text("one")
    first = kept.get(cache.key("kind", source), make)
    assert kept.get(cache.key("kind", source), make) == first
    assert len(made) == 1
    source.write_text("two")
    assert kept.get(cache.key("kind", source), make) != first
    assert len(made) == 2
    assert cache.Cache(tmp_path / "cache", fresh=True).get(cache.key("kind", source), make).exists()
    assert len(made) == 3


def test_what_failed_leaves_nothing(tmp_path):
    kept = cache.Cache(tmp_path)

    def fail(folder):
        (folder / "half").write_text("")
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        kept.get("name", fail)
    assert list(tmp_path.iterdir()) == []


def test_canonical_json_is_the_same_for_the_same_content():
    assert canonical({"b": 1, "a": [2]}) == b'{"a":[2],"b":1}'
    assert json.loads(canonical({"a": "ü"})) == {"a": "ü"}


def test_an_image_that_is_not_there_is_named_before_anything_is_made(tmp_path):
    program = [sys.executable, "-P", "-m", "broch.dev", "images", "build", "no-such-image"]
    environment = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no such image: no-such-image (here are: broch, clamav," in done.stderr
