"""Originals reach clamd by descriptor or as bytes, and either way as they were taken in."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal

import pytest

from broch_airlock.checks.antivirus import NOT_BY_DESCRIPTOR, ClamdAntivirus, ClamdFileScan, ScanResult
from broch_airlock.checks.clamd_config import eicar
from broch_airlock.checks.model import Verdict
from broch_airlock.checks.policy import Policy
from broch_airlock.checks.supervisor import check_files, overall

WORDS = b"words\n" * 100_000


class Handed(ClamdAntivirus):
    """A real clamd; counts what reaches it which way, and does something when a file is handed over."""

    def __init__(self, setup, before=lambda _descriptor: None, refused=None) -> None:
        plain = setup.antivirus()
        super().__init__(setup.socket, signatures_at=plain._signatures_at)
        self.before = before
        self.refused = refused
        self.files = self.streams = 0

    def scan(self, **limits):
        self.streams += 1
        return super().scan(**limits)

    def scan_file(self, descriptor, *, seconds):
        self.files += 1
        self.before(descriptor)
        scan: ClamdFileScan = super().scan_file(descriptor, seconds=seconds)
        if self.refused is not None:
            scan._failed = self.refused
        return scan


def open_to_write(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.close(os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK))


def check(lab, antivirus, *contents, change=lambda file: file):
    """Return the verdicts and rules on files of these contents, and how they reached clamd."""

    def action():
        files = [change(lab.file(f"{number}.txt", text, "ingress")) for number, text in enumerate(contents)]
        answers = check_files(files, Policy(), antivirus)
        rules = {finding.rule for one in answers for answer in one for finding in answer.findings}
        return [overall(one) for one in answers], rules, antivirus.files, antivirus.streams

    return lab.run(action)


def test_files_are_handed_to_a_clamd_on_this_machine(lab):
    verdicts, _, files, streams = check(lab, Handed(lab.setup), WORDS, eicar(), b"")
    assert verdicts == [Verdict.CLEAN, Verdict.BLOCKED, Verdict.CLEAN]
    assert (files, streams) == (3, 0)


def test_a_file_that_somebody_opens_for_writing_while_it_is_scanned_is_an_error(lab):
    verdicts, rules, *_ = check(lab, Handed(lab.setup, open_to_write), WORDS)
    assert verdicts == [Verdict.ERROR]
    assert "changed" in rules


def test_a_file_of_other_bytes_than_taken_in_is_an_error_when_handed_over(lab):
    def other(file):
        return dataclasses.replace(file, sha256="0" * 64)

    verdicts, rules, files, _ = check(lab, Handed(lab.setup), WORDS, change=other)
    assert (verdicts, files) == ([Verdict.ERROR], 1)
    assert "changed" in rules


def test_a_file_that_is_open_for_writing_already_is_sent_as_bytes(lab):
    held = []

    def opened(file):
        held.append(file.path.open("ab"))
        return file

    verdicts, _, files, streams = check(lab, Handed(lab.setup), WORDS, eicar(), change=opened)
    assert verdicts == [Verdict.CLEAN, Verdict.BLOCKED]
    assert (files, streams) == (0, 2)


def test_a_clamd_that_takes_no_descriptors_is_sent_every_file_as_bytes(lab):
    refused = ScanResult(Verdict.ERROR, NOT_BY_DESCRIPTOR, "UNKNOWN COMMAND")
    contents = [b"words %d\n" % number for number in range(9)] + [eicar()]
    verdicts, rules, files, streams = check(lab, Handed(lab.setup, refused=refused), *contents)
    assert verdicts == [Verdict.CLEAN] * 9 + [Verdict.BLOCKED]
    assert NOT_BY_DESCRIPTOR not in rules
    assert 1 <= files < len(contents)
    assert streams == len(contents)


@pytest.mark.parametrize("rule", ["clamd-timeout", "clamd-unreachable"])
def test_other_failures_stay_errors(lab, rule):
    refused = ScanResult(Verdict.ERROR, rule, "away")
    verdicts, rules, _, streams = check(lab, Handed(lab.setup, refused=refused), WORDS)
    assert verdicts == [Verdict.ERROR]
    assert rule in rules
    assert streams == 0


def test_a_clamd_killed_with_a_file_in_hand_is_an_error(own_lab):
    def kill(_descriptor):
        os.kill(own_lab.clamd_pid, signal.SIGKILL)

    verdicts, *_ = check(own_lab, Handed(own_lab.setup, kill), WORDS)
    assert verdicts == [Verdict.ERROR]
