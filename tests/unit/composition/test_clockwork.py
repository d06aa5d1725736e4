"""Work that returns now and then, and signatures that stay young."""

import os
import threading
import time
from pathlib import Path

from broch.instance import DEMO_RENEWAL, Clockwork, refresh_demo_signatures
from broch_airlock.checks.clamd_config import DEMO, DEMO_NAME, SYSTEM, demo_signatures
from broch_airlock.checks.clamd_process import ClamdSetup


def test_a_call_that_fails_does_not_keep_the_others_waiting():
    reached = threading.Event()

    def fails():
        raise RuntimeError("no")

    clockwork = Clockwork([fails, lambda: reached.set() or 0], period=0.01)
    clockwork.start()
    assert reached.wait(30)
    clockwork.stop()
    reached.clear()
    assert not reached.wait(0.1)


def test_one_that_never_began_can_be_stopped():
    """A start that fails must show why it failed, and nothing else."""
    Clockwork([]).stop()


def setup_with(database, signatures):
    return ClamdSetup(Path("/none"), Path("/none"), database, signatures)


def test_demo_signatures_are_made_young_before_they_are_old(tmp_path):
    demo_signatures(tmp_path)
    file = tmp_path / DEMO_NAME
    assert refresh_demo_signatures(setup_with(tmp_path, DEMO)) == 0
    old = time.time() - DEMO_RENEWAL.total_seconds() - 60
    os.utime(file, (old, old))
    assert refresh_demo_signatures(setup_with(tmp_path, SYSTEM)) == 0
    assert refresh_demo_signatures(setup_with(tmp_path, DEMO)) == 1
    assert time.time() - file.stat().st_mtime < 60


def test_demo_signatures_that_are_gone_are_made_again(tmp_path):
    assert refresh_demo_signatures(setup_with(tmp_path, DEMO)) == 1
    assert (tmp_path / DEMO_NAME).exists()
