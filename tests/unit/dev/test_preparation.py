"""What a layer needs done first is done beside the others; its tests wait for it and say what went wrong."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from broch.dev import preparation
from broch.dev.environment import SetUpFailed


@pytest.fixture
def steps(monkeypatch):
    steps = {}
    monkeypatch.setattr(preparation, "PREPARATIONS", steps)
    return steps


def test_it_is_done_beside_what_the_caller_does_and_tests_wait_for_it(steps, monkeypatch, tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    def prepare(_):
        begun.set()
        assert go_on.wait(30)
        return "the compiler is missing"

    steps["cluster"] = prepare
    with preparation.beside(tmp_path, ["unit", "cluster"]) as folder:
        monkeypatch.setenv(preparation.PREPARED, str(folder))
        assert begun.wait(30)
        assert preparation.wait_for("cluster", 0) == "it was not prepared within 0 s"
        go_on.set()
        assert preparation.wait_for("cluster", 30) == "the compiler is missing"


def test_what_is_well_is_told_as_nothing(steps, monkeypatch, tmp_path):
    steps["cluster"] = lambda _: ""
    with preparation.beside(tmp_path, ["cluster"]) as folder:
        monkeypatch.setenv(preparation.PREPARED, str(folder))
        assert preparation.wait_for("cluster", 30) == ""


def test_a_preparation_that_crashes_keeps_nobody_waiting(steps, monkeypatch, tmp_path):
    def crash(_):
        raise ZeroDivisionError("oh")

    steps["cluster"] = crash
    with preparation.beside(tmp_path, ["cluster"]) as folder:
        monkeypatch.setenv(preparation.PREPARED, str(folder))
        assert "oh" in preparation.wait_for("cluster", 30)


def test_by_hand_nobody_waits(monkeypatch):
    monkeypatch.delenv(preparation.PREPARED, raising=False)
    assert preparation.wait_for("cluster", 0) == ""


def test_a_cluster_of_ones_own_needs_no_build(tmp_path, monkeypatch):
    monkeypatch.delenv("BROCH_TEST_KUBECONFIG", raising=False)
    assert "ended with 3" in _built(tmp_path)
    monkeypatch.setenv("BROCH_TEST_KUBECONFIG", "somewhere")
    assert _built(tmp_path) == ""


def test_without_images_the_cluster_is_not_prepared(tmp_path, monkeypatch):
    def broken(**_):
        raise SetUpFailed("mmdebstrap is missing")

    monkeypatch.setattr(preparation, "build_test_bed", lambda _: "")
    monkeypatch.setattr(preparation.images, "build", broken)
    assert preparation.prepare_cluster(tmp_path) == "no images: mmdebstrap is missing"
    monkeypatch.setattr(preparation.images, "build", lambda **_: {})
    assert preparation.prepare_cluster(tmp_path) == ""


def _built(root: Path) -> str:
    script = root / "tests" / "cluster" / "testbed" / "testbed"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    return preparation.build_test_bed(root)
