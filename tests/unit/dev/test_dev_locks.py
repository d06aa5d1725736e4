"""The locks answer to pyproject.toml; whatever does not is named, without a network."""

import tomllib
from pathlib import Path

import pytest

from broch.dev import lock

ROOT = Path(__file__).parents[3]

PYPROJECT = """
[project]
name = "x"
requires-python = ">=3.11"
dependencies = ["Some_Thing[fast]>=2"]
[project.optional-dependencies]
workspace = []
setup = ["uv>=0.9"]
dev = ["pytest>=8"]
"""
HASH = " \\\n    --hash=sha256:" + "0" * 64 + "\n"


def locked(extras, *pins, inputs=PYPROJECT):
    digest = lock.inputs_digest(tomllib.loads(inputs)["project"], extras)
    return f"# inputs sha256:{digest}\n" + "".join(pin + HASH for pin in pins)


def runtime(*pins, **kwargs):
    return locked(lock.RUNTIME_EXTRAS, *(pins or ("some-thing==2.1", "uv==0.9.1")), **kwargs)


def dev(*pins, **kwargs):
    return locked(lock.DEV_EXTRAS, *(pins or ("some-thing==2.1", "uv==0.9.1", "pytest==8.4")), **kwargs)


def test_locks_made_from_pyproject_are_accepted():
    assert lock.problems(PYPROJECT, runtime(), dev()) == []


def test_the_locks_of_this_checkout_are_up_to_date():
    assert lock.stale(ROOT) == []


def test_the_locks_of_this_checkout_pin_and_hash_much():
    pinned = lock.pins((ROOT / "requirements.lock").read_text())
    assert len(pinned) > 50
    assert all(pin.hashed for pin in pinned)


@pytest.mark.parametrize(
    ("runtime_lock", "dev_lock", "said"),
    [
        (runtime("uv==0.9.1"), dev(), "requirements.lock has no pin for Some_Thing[fast]>=2"),
        (runtime("some-thing==1.9", "uv==0.9.1"), dev(), "pins Some_Thing 1.9, pyproject.toml wants"),
        (runtime(), dev("some-thing==2.1", "uv==0.9.1"), "requirements-dev.lock has no pin for pytest>=8"),
        (runtime(), dev("some-thing==2.2", "uv==0.9.1", "pytest==8.4"), "does not pin some-thing 2.1 as"),
        (runtime().replace("--hash=sha256:", "--hash=md5:"), dev(), "no hash for some-thing 2.1"),
        (runtime() + "other @ https://example.org/other.whl\n", dev(), "holds an address"),
        (runtime() + "--no-binary :all:\n", dev(), "holds an address or an option"),
    ],
)
def test_a_lock_that_does_not_fit_is_named(runtime_lock, dev_lock, said):
    problems = lock.problems(PYPROJECT, runtime_lock, dev_lock)
    assert any(said in problem for problem in problems), problems
    assert all(problem.endswith("run ./broch lock") for problem in problems)


def test_a_dropped_dependency_or_a_changed_extra_makes_the_lock_stale():
    before = PYPROJECT.replace("[fast]", "")
    problems = lock.problems(PYPROJECT, runtime(inputs=before), dev())
    assert problems == [
        "requirements.lock was made from other dependencies than pyproject.toml states: run ./broch lock"
    ]


def test_a_name_pinned_for_several_pythons_must_fit_in_each():
    forked = runtime("some-thing==2.1", "some-thing==1.0", "uv==0.9.1")
    assert any("pins Some_Thing 1.0" in problem for problem in lock.problems(PYPROJECT, forked, dev()))
