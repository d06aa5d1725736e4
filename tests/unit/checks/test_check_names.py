"""Path hygiene and the plain model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_airlock.checks.antivirus import interpret
from broch_airlock.checks.inside.texts import DataUris
from broch_airlock.checks.model import Verdict, display, worst
from broch_airlock.checks.names import BadName, accept_name, member_findings
from broch_airlock.checks.policy import Policy
from support.counts import count

BAD = {
    "nul": "a\0b", "separator": "a/b", "dots": "..", "bidi": "a\u202etxt.exe", "control": "a\nb", "space": "a\u00a0b",
    "trailing": "a.", "leading-space": " a", "leading-dash": "-rf", "hidden": ".profile", "reserved": "con.txt",
    "reserved-character": "a:b", "not-nfc": "e\u0301.txt", "too-long": "x" * 256, "encoding": "a\udcff",
}  # fmt: skip


@pytest.mark.parametrize("rule", BAD)
def test_a_bad_name_is_refused_with_its_reason(rule):
    with pytest.raises(BadName) as refusal:
        accept_name(BAD[rule])
    assert refusal.value.rule == rule
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("name", ["table.csv", "Ünï.txt", "a b.md", "表.csv", "x" * 255])
def test_a_good_name_is_accepted(name):
    assert accept_name(name) == name


def test_members_may_have_folders_but_not_leave_them():
    assert member_findings("a/.b/c.txt", "") == []
    assert {one.rule for one in member_findings("/a/../b", "")} == {"absolute", "traversal"}


@given(st.text())
@settings(max_examples=count("any text shown is one safe line", ci=200, nightly=20_000))
def test_any_text_is_shown_as_one_safe_line(text):
    assert len(display(text)) <= 300
    assert not {"\n", "\0", "\u202e", "\u2028"} & set(display(text))


def test_verdicts_are_ordered_by_badness_and_nothing_is_an_error():
    assert Verdict.CLEAN < Verdict.FLAGGED < Verdict.BLOCKED < Verdict.UNSCANNABLE < Verdict.ERROR
    assert worst([]) is Verdict.ERROR


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (b"stream: OK\0", Verdict.CLEAN),
        (b"stream: Eicar FOUND\0", Verdict.BLOCKED),
        (b"stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\0", Verdict.UNSCANNABLE),
        (b"stream: Heuristics.Encrypted.Zip FOUND\0", Verdict.UNSCANNABLE),
        (b"INSTREAM size limit exceeded. ERROR\0", Verdict.UNSCANNABLE),
        (b"stream: Can't allocate memory ERROR\0", Verdict.ERROR),
        (b"", Verdict.ERROR),
        (b"OK\0", Verdict.ERROR),
    ],
)
def test_replies_of_clamd_are_read_strictly(reply, verdict):
    assert interpret(reply).verdict is verdict


@given(st.integers(1, 40))
@settings(max_examples=count("a data: URI is found however it is cut", ci=40, nightly=40))
def test_a_data_uri_is_found_however_the_text_is_cut(step):
    text = b"words data:text/plain;base64,d29yZHMgd29yZHMgd29yZHMgd29yZHM= more <data:x>"
    finder = DataUris(1000)
    found = [uri for at in range(0, len(text), step) for uri in finder.feed(text[at : at + step])]
    assert b"words words words words" in b"".join([*found, *finder.close()])


def test_a_changed_policy_has_another_digest():
    assert Policy().digest() == Policy().digest() != Policy(max_members=9).digest()
