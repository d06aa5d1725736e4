"""`./broch test` runs what was asked for, or everything, and never skips in silence."""

import re
import subprocess
from pathlib import Path

import pytest

from broch.dev import layers, lint, notes, packages, preparation

ABSENT = packages.Package("no-such-package", "for this test", lambda: False)


@pytest.fixture
def root(tmp_path, monkeypatch):
    for layer, test in (("unit", "assert True"), ("integration", "assert True")):
        folder = tmp_path / "tests" / layer
        folder.mkdir(parents=True)
        (folder / f"test_{layer}.py").write_text(f"def test_it():\n    {test}\n")
    (tmp_path / "tests" / "browser").mkdir()
    monkeypatch.setattr(packages, "NEEDS", {})
    monkeypatch.setattr(lint, "STEPS", {"easy": lambda _: ""})
    monkeypatch.delenv(notes.NOTES, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # for speed: loading them takes seconds
    return tmp_path


def test_a_layer_exists_when_it_has_a_test(root):
    assert layers.existing(root) == ("unit", "integration")


def test_without_a_name_everything_that_exists_runs():
    assert layers.choose([], ["unit", "browser"]) == layers.Choice(lint=True, layers=("unit", "browser"))


def test_named_layers_run_in_their_order_and_alone():
    chosen = layers.choose(["integration", "unit"], ["unit", "integration", "browser"])
    assert chosen == layers.Choice(lint=False, layers=("unit", "integration"))


@pytest.mark.parametrize("name", ["browser", "units", "../unit", ""])
def test_a_layer_that_does_not_exist_is_refused(name):
    with pytest.raises(layers.UnknownLayer, match="here are: lint, unit"):
        layers.choose([name], ["unit"])


def test_passing_layers_pass_and_the_closing_line_is_last(root, capfd):
    assert layers.run(root, [], [], nightly=False) == 0
    out = capfd.readouterr().out.splitlines()
    assert "2 passed" in out[-1]
    assert any(line.startswith("lint  easy") for line in out)


def test_failed_lint_fails_the_run_and_is_told_above_the_closing_line(root, capfd, monkeypatch):
    monkeypatch.setattr(lint, "STEPS", {"easy": lambda _: "", "hard": lambda _: "line 3 is wrong"})
    assert layers.run(root, ["lint", "unit"], [], nightly=False) == 1
    out = capfd.readouterr().out
    assert "line 3 is wrong" in out
    assert "lint failed: hard" in out
    assert "1 passed" in out.splitlines()[-1]


def test_a_layer_without_its_packages_fails_and_the_others_still_run(root, capfd, monkeypatch):
    monkeypatch.setattr(packages, "NEEDS", {"integration": (ABSENT,)})
    monkeypatch.setenv("BROCH_NO_INSTALL", "1")
    assert layers.run(root, ["unit", "integration"], [], nightly=False) == 1
    out, err = capfd.readouterr()
    assert "layer integration did not run: no-such-package missing" in out
    assert "1 passed" in out.splitlines()[-1]
    assert "no-such-package is missing: for this test" in err


def test_failed_lint_does_not_keep_a_layer_from_being_prepared(root, monkeypatch):
    prepared = []
    monkeypatch.setattr(lint, "STEPS", {"hard": lambda _: "line 3 is wrong"})
    monkeypatch.setattr(preparation, "PREPARATIONS", {"unit": lambda root: prepared.append(root) or ""})
    assert layers.run(root, [], [], nightly=False) == 1
    assert prepared == [root]


def test_the_test_bed_and_the_layer_know_of_the_same_packages():
    script = Path(__file__).parents[2] / "cluster" / "testbed" / "lib" / "build.sh"
    listed = re.search(r"^PACKAGES=\(([^)]*)\)", script.read_text(), flags=re.MULTILINE)
    assert {package.name for package in packages.TEST_BED} == set(listed.group(1).split())


def test_what_few_tests_need_is_built_for_who_asks_and_not_for_every_cluster(tmp_path):
    folder = Path(__file__).parents[2] / "cluster" / "testbed"

    def wanted(*asked: str) -> set[str]:
        script = 'HERE=$1 CACHE=$2; . "$HERE/lib/build.sh"; wanted "${@:3}"'
        words = ("bash", "-euc", script, "bash", folder, tmp_path, *asked)
        lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        return {line.split()[0] for line in lines}

    assert wanted() == {"cluster", "calico", "runtime", "tools"}
    assert wanted("kueue") == {"kueue"}


def test_when_nothing_can_run_the_run_fails(root, monkeypatch, capfd):
    monkeypatch.setattr(packages, "NEEDS", {"integration": (ABSENT,)})
    monkeypatch.setenv("BROCH_NO_INSTALL", "1")
    assert layers.run(root, ["integration"], [], nightly=False) == 1
    assert "did not run" in capfd.readouterr().err


def test_what_tests_start_finds_the_product_compiled(root, monkeypatch):
    (root / "api").mkdir()
    (root / "api" / "module.py").write_text("x = 1\n")
    (root / "tests" / "unit" / "test_unit.py").write_text(
        "import os\ndef test_it():\n    assert 'PYTHONDONTWRITEBYTECODE' not in os.environ\n"
    )
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert layers.run(root, ["unit"], [], nightly=False) == 0
    assert list((root / "api" / "__pycache__").iterdir())


@pytest.mark.parametrize("nightly", [False, True])
def test_tests_learn_whether_it_is_nightly(root, nightly):
    (root / "tests" / "unit" / "test_unit.py").write_text(
        f"import os\ndef test_it():\n    assert os.environ['BROCH_NIGHTLY'] == '{int(nightly)}'\n"
    )
    assert layers.run(root, ["unit"], [], nightly=nightly) == 0


def test_a_step_that_cannot_start_is_a_failure(tmp_path, monkeypatch, capsys):
    def broken(_):
        raise FileNotFoundError("no such tool")

    monkeypatch.setattr(lint, "STEPS", {"broken": broken})
    assert lint.run(tmp_path) == ["broken"]
    assert "no such tool" in capsys.readouterr().out
