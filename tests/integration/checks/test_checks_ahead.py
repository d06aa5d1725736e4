"""Scans ahead of the checks save time and nothing else: only what is surely clean is not scanned again."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from datetime import timedelta

import pytest

from broch_airlock.checks import ahead as ahead_module
from broch_airlock.checks.ahead import ScanAhead
from broch_airlock.checks.antivirus import ClamdAntivirus, ScanResult
from broch_airlock.checks.clamd_config import eicar
from broch_airlock.checks.model import Verdict
from broch_airlock.checks.policy import Policy
from broch_airlock.checks.supervisor import check_files, overall

WORDS = b"words\n" * 100_000


class Counting(ClamdAntivirus):
    """A real clamd; counts the files it is handed."""

    def __init__(self, setup) -> None:
        super().__init__(setup.socket, signatures_at=setup.antivirus()._signatures_at)
        self.setup = setup
        self.files = 0
        self.newer = timedelta(0)
        self.hold: threading.Event | None = None
        self.held = threading.Event()
        self.answer: ScanResult | None = None

    def health(self, longest_age, now=None):
        health = super().health(longest_age, now)
        return dataclasses.replace(health, signatures_at=health.signatures_at + self.newer)

    def scan_file(self, descriptor, *, seconds):
        self.files += 1
        if self.hold is not None:
            self.held.set()
            assert self.hold.wait(30)
        scan = super().scan_file(descriptor, seconds=seconds)
        if self.answer is not None:
            scan._failed = self.answer
        return scan


def settle(ahead: ScanAhead) -> None:
    deadline = time.monotonic() + 20
    while not ahead.idle():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def looked(lab, content=WORDS, *, between=lambda _ahead, _antivirus, file: file, policy=Policy()):  # noqa: B008 - frozen
    """Offer a file, do something, check it; return verdict, rules, scans ahead, and scans of the checks."""

    def action():
        antivirus = Counting(lab.setup)
        ahead = ScanAhead(policy, antivirus)
        file = dataclasses.replace(lab.file("a.txt", content, "ingress"), project_id="P")
        ahead.offer(file)
        settle(ahead)
        before = antivirus.files
        file = between(ahead, antivirus, file)
        answers = check_files([file], policy, antivirus, ahead=ahead)[0]
        rules = {finding.rule for answer in answers for finding in answer.findings}
        return overall(answers), rules, before, antivirus.files - before

    return lab.run(action)


def test_what_was_clean_is_not_scanned_again(lab):
    verdict, _, ahead, later = looked(lab)
    assert (verdict, ahead, later) == (Verdict.CLEAN, 1, 0)


def test_malware_is_found_by_the_checks_themselves(lab):
    verdict, rules, ahead, later = looked(lab, eicar())
    assert (verdict, ahead, later) == (Verdict.BLOCKED, 1, 1)
    assert any("Eicar" in rule or "EICAR" in rule.upper() for rule in rules)


def other_project(_ahead, _antivirus, file):
    return dataclasses.replace(file, project_id="Q")


def no_project(_ahead, _antivirus, file):
    return dataclasses.replace(file, project_id="")


def new_signatures(_ahead, antivirus, file):
    antivirus.newer = timedelta(seconds=1)
    return file


def too_long_ago(ahead, _antivirus, file):
    key = (file.project_id, file.sha256)
    signatures, at = ahead._clean[key]
    ahead._clean[key] = (signatures, at - ahead_module.KEPT_SECONDS - 1)
    return file


@pytest.mark.parametrize("between", [other_project, no_project, new_signatures, too_long_ago])
def test_anything_less_than_sure_is_scanned_again(lab, between):
    verdict, _, ahead, later = looked(lab, between=between)
    assert (verdict, ahead, later) == (Verdict.CLEAN, 1, 1)


def test_bytes_that_changed_since_are_an_error(lab):
    def change(_ahead, _antivirus, file):
        file.path.write_bytes(eicar().ljust(file.size))
        return file

    verdict, rules, _, later = looked(lab, between=change)
    assert (verdict, later) == (Verdict.ERROR, 0)
    assert "changed" in rules


def test_without_signatures_that_are_young_enough_nothing_is_known(lab):
    verdict, *_, ahead, later = looked(lab, policy=Policy(max_signature_age=timedelta(microseconds=1)))
    assert verdict is Verdict.UNSCANNABLE
    assert (ahead, later) == (0, 0)


def test_a_file_that_is_gone_again_is_forgotten(lab):
    def action():
        antivirus = Counting(lab.setup)
        ahead = ScanAhead(Policy(), antivirus)
        file = dataclasses.replace(lab.file("a.txt", WORDS, "ingress"), project_id="P")
        shutil.rmtree(file.path.parent)
        ahead.offer(file)
        settle(ahead)
        return antivirus.files, dict(ahead._clean)

    assert lab.run(action) == (0, {})


def test_a_scan_that_goes_on_is_waited_for_and_one_that_waits_is_taken_over(lab):
    def action():
        antivirus = Counting(lab.setup)
        antivirus.hold = threading.Event()
        ahead = ScanAhead(Policy(), antivirus)
        files = [
            dataclasses.replace(lab.file(f"{name}.txt", WORDS + name.encode(), "ingress"), project_id="P")
            for name in ("first", "second")
        ]
        for file in files:
            ahead.offer(file)
        assert antivirus.held.wait(30)
        threading.Timer(0.3, antivirus.hold.set).start()
        answers = check_files(files, Policy(), antivirus, ahead=ahead)
        return [overall(answer) for answer in answers], antivirus.files

    assert lab.run(action) == ([Verdict.CLEAN] * 2, 2)


@pytest.mark.parametrize("rule", ["clamd-timeout", "clamd-unreachable"])
def test_a_scan_ahead_that_failed_says_nothing(lab, rule):
    def action():
        antivirus = Counting(lab.setup)
        ahead = ScanAhead(Policy(), antivirus)
        file = dataclasses.replace(lab.file("a.txt", WORDS, "ingress"), project_id="P")
        antivirus.answer = ScanResult(Verdict.ERROR, rule, "away")
        ahead.offer(file)
        settle(ahead)
        antivirus.answer = None
        return overall(check_files([file], Policy(), antivirus, ahead=ahead)[0]), antivirus.files

    assert lab.run(action) == (Verdict.CLEAN, 2)


def test_no_more_files_wait_than_agreed(lab, monkeypatch):
    monkeypatch.setattr(ahead_module, "WAITING_MOST", 2)

    def action():
        antivirus = Counting(lab.setup)
        antivirus.hold = threading.Event()
        ahead = ScanAhead(Policy(), antivirus)
        files = [
            dataclasses.replace(lab.file(f"{n}.txt", WORDS + b"%d" % n, "ingress"), project_id="P")
            for n in range(5)
        ]
        ahead.offer(files[0])
        assert antivirus.held.wait(30)
        for file in files[1:]:
            ahead.offer(file)
        antivirus.hold.set()
        settle(ahead)
        return antivirus.files

    assert lab.run(action) == 3
