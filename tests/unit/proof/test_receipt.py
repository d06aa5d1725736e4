"""Receipts: what is released verifies, and nothing else does."""

import base64
import copy
import hashlib
import json
import os
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_core.proof import (
    CheckSummary,
    Direction,
    InvalidProof,
    Malformed,
    Newer,
    Outcome,
    ReleasedFile,
    ReleaseStatement,
    TrustFile,
    sign_envelope,
    verify_receipt,
)
from broch_core.proof.canonical import canonical
from support.counts import count
from unit.proof.release_world import (
    DIGESTS,
    NOW,
    ORIGIN,
    World,
    make_leaf,
    make_signer,
    make_statement,
)

WORLD = World()
RECEIPT = WORLD.release()
VALUE = json.loads(RECEIPT)
DAY = timedelta(days=1)


def failed(receipt, *, files=DIGESTS, trust=None, **more):
    """Verify; return the step that failed, or nothing."""
    data = receipt if isinstance(receipt, bytes) else json.dumps(receipt).encode()
    report = verify_receipt(data, files, trust or WORLD.trust(), **more)
    bad = [step for step in report.steps if step.outcome is Outcome.FAILED]
    assert report.ok == (not bad)
    return f"{bad[0].name}: {bad[0].reason}" if bad else None


def signed_anyway(payload, *, spaced=False, **leaf):
    """A receipt in which everything is signed and logged, whatever the payload says: what a verifier has to refuse."""
    world = World()
    value = json.loads(world.release())
    envelope = sign_envelope(payload, [world.statement_signer])
    data = make_leaf(payload, **leaf)
    if spaced:
        data = json.dumps(json.loads(data), indent=1).encode()
    index = world.tree.size
    from broch_core.proof import leaf_hash

    world.tree.append([leaf_hash(data)])
    return value | {
        "envelope": envelope.dump(),
        "leaf": data.decode(),
        "inclusion": {
            "index": index,
            "size": world.tree.size,
            "hashes": [node.hex() for node in world.tree.inclusion_proof(index)],
        },
        "checkpoint": world.checkpoint(),
    }


def test_a_receipt_verifies_with_its_files_and_says_every_step():
    report = verify_receipt(RECEIPT, DIGESTS, WORLD.trust())
    assert report.ok
    assert [step.name for step in report.steps] == [
        "receipt", "signature", "reviewers", "audit record", "checkpoint", "inclusion", "file table.csv", "file plots/fit.png",
        "recall",
    ]  # fmt: skip
    assert report.steps[-1].outcome is Outcome.NOT_CHECKED
    assert "recall not checked" in report.steps[-1].reason


def test_a_changed_file_is_named_with_both_digests():
    found = hashlib.sha256(b"other").hexdigest()
    assert failed(RECEIPT, files={"table.csv": found}) == (
        "file table.csv: the bytes differ from what was released: "
        f"sha256 {DIGESTS['table.csv']} expected, {found} found"
    )


def test_files_are_matched_by_the_end_of_their_path():
    fit, table = DIGESTS["plots/fit.png"], DIGESTS["table.csv"]
    assert failed(RECEIPT, files={"/tmp/x/plots/fit.png": fit, "./a/table.csv": table}) is None
    assert "no file of this name" in failed(RECEIPT, files={"fit.png": fit})
    assert "give it that name" in failed(RECEIPT, files={"plots/renamed.png": fit})
    assert "no file of this name" in failed(RECEIPT, files={"mytable.csv": "0" * 64})


def test_a_file_not_given_is_said_and_one_is_enough():
    report = verify_receipt(RECEIPT, {"table.csv": DIGESTS["table.csv"]}, WORLD.trust())
    assert report.ok
    assert "not checked  file plots/fit.png: not given, not checked" in [str(step) for step in report.steps]
    assert "no file was given" in failed(RECEIPT, files={})


def test_one_stranger_among_good_files_fails_the_whole():
    assert "evil" in failed(RECEIPT, files=DIGESTS | {"evil\x1b[2J.csv": "0" * 64})


def test_an_ingress_may_pass_by_policy_without_review():
    receipt = World().release(make_statement(direction=Direction.INGRESS, reviewers=()))
    assert failed(receipt) is None


def predicate_of(**changes):
    value = json.loads(make_statement().payload())
    value["predicate"] |= changes
    return canonical(value)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (predicate_of(reviewers=["01ALICE"]), "two different reviewers"),
        (predicate_of(reviewers=["01ALICE", "01ALICE"]), "named twice"),
        (predicate_of(reviewers=[]), "two different reviewers"),
        (predicate_of(surprise=1), "unknown to this version"),
        (predicate_of(direction="sideways"), "unknown direction"),
        (predicate_of(released_at="2026-03-01T12:00:00+01:00"), "RFC 3339"),
        (predicate_of(released_at="2026-02-01T12:00:00Z"), "not valid at"),
        (predicate_of(log={"origin": "other.example"}), "belongs to the log other.example"),
        (predicate_of(checks=[{"check": "a", "verdict": "fine", "engine": "e"}]), "verdict"),
        (
            canonical(json.loads(make_statement().payload()) | {"_type": "https://in-toto.io/Statement/v2"}),
            "version",
        ),
        (make_statement().payload().replace(b",", b", ", 1), "canonical form"),
        (make_statement().payload().replace(b"{", b'{"_type":"x",', 1), "twice"),
        (b"[]", "not an object"),
    ],
)
def test_a_statement_that_breaks_a_rule_is_refused_even_when_it_is_signed_and_logged(payload, reason):
    assert failed(signed_anyway(make_statement().payload())) is None
    assert reason in failed(signed_anyway(payload))


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [
        ({"facts": {"statement_sha256": "0" * 64}}, "does not commit"),
        ({"facts": {}}, "does not commit"),
        ({"facts": None}, "does not commit"),
        ({"action": "airlock:submit"}, "does not record a release"),
        ({"outcome": "denied"}, "does not record a release"),
        ({"project": "01OTHER"}, "another request"),
        ({"subject": {"kind": "airlock-request", "id": "01OTHER"}}, "another request"),
        ({"v": 2}, "version"),
        ({"v": True}, "version"),
        ({"extra": 1}, "unknown to this version"),
    ],
)
def test_a_logged_record_of_something_else_is_refused(leaf, reason):
    assert reason in failed(signed_anyway(make_statement().payload(), **leaf))


def test_a_logged_record_in_another_spelling_is_refused():
    assert "canonical form" in failed(signed_anyway(make_statement().payload(), spaced=True))


def test_keys_are_believed_for_their_period_and_purpose_alone():
    statement, checkpoint = WORLD.statement_signer.key, WORLD.checkpoint_signer.key

    def trust(one=statement, two=checkpoint, origin=ORIGIN):
        return TrustFile(origin, (one, two))

    def key(purpose, **period):
        return make_signer(purpose, **period).key

    assert failed(RECEIPT, trust=trust(key("statement", start=NOW, end=NOW + DAY))) is None
    assert failed(RECEIPT, trust=trust(two=key("checkpoint", start=NOW + DAY))) is None
    assert "not valid at" in failed(RECEIPT, trust=trust(key("statement", end=NOW)))
    assert "not valid at" in failed(RECEIPT, trust=trust(key("statement", start=NOW + DAY)))
    assert "ended before" in failed(RECEIPT, trust=trust(two=key("checkpoint", end=NOW)))
    assert "No key" in failed(RECEIPT, trust=trust(key("statement", seed=9)))
    assert "No checkpoint key" in failed(RECEIPT, trust=trust(two=key("checkpoint", seed=9)))
    assert "belongs to the log" in failed(RECEIPT, trust=trust(origin="other.example"))
    swapped = trust(key("checkpoint", seed=1), key("statement", seed=2))
    assert "which is for checkpoints" in failed(RECEIPT, trust=swapped)


def test_a_newer_checkpoint_shows_that_the_log_was_continued():
    world = World()
    receipt = world.release()
    size = world.tree.size
    same = world.checkpoint()
    world.grow(9)
    good = Newer(world.checkpoint(), tuple(world.tree.consistency_proof(size)))
    report = verify_receipt(receipt, DIGESTS, world.trust(), newer=good)
    assert report.ok
    assert "it continues the log" in str(report.steps[-2])
    assert failed(receipt, newer=Newer(same)) is None
    report = verify_receipt(receipt, DIGESTS, world.trust(), newer=Newer(good.checkpoint))
    assert report.ok
    assert "does not show that the log was continued" in str(report.steps[-2])
    fork = World()
    fork.grow(size + 9)
    wrong = Newer(fork.checkpoint(), tuple(fork.tree.consistency_proof(size)))
    assert "does not continue" in failed(receipt, newer=wrong)
    short = World()
    short.grow(3)
    assert "is older" in failed(receipt, newer=Newer(short.checkpoint()))
    twin = World()
    twin.grow(size)
    assert "different roots" in failed(receipt, newer=Newer(twin.checkpoint()))


def edited(*path: str | int, to):
    value = copy.deepcopy(VALUE)
    target = value
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = to
    return value


@pytest.mark.parametrize(
    "receipt",
    [
        b"", b"{", b"null", b"\xff", RECEIPT + b"x", RECEIPT + b" " * (1 << 20), RECEIPT.replace(b"{", b'{"leaf": "x",', 1),
        edited("extra", to=1), edited("mediaType", to="application/vnd.broch.receipt.v2+json"),
        edited("envelope", "payloadType", to="application/json"), edited("leaf", to={}), edited("leaf", to=VALUE["leaf"] + " "),
        edited("inclusion", "index", to=VALUE["inclusion"]["index"] + 1), edited("inclusion", "index", to=-1),
        edited("inclusion", "index", to=True), edited("inclusion", "index", to=5.0),
        edited("inclusion", "size", to=VALUE["inclusion"]["size"] + 1), edited("inclusion", "hashes", to=[]),
        edited("inclusion", "hashes", to=VALUE["inclusion"]["hashes"][::-1]), edited("inclusion", "hashes", to=["00"] * 65),
        edited("inclusion", "hashes", 0, to=VALUE["inclusion"]["hashes"][0].upper()), edited("checkpoint", to=""),
        edited("envelope", "signatures", 0, "sig", to=base64.b64encode(b"s" * 64).decode()),
        edited("envelope", "signatures", 0, "sig", to=""), edited("envelope", "signatures", 0, "keyid", to="x"),
        edited("checkpoint", to=VALUE["checkpoint"].replace(ORIGIN, "other.example")),
    ],
    ids=lambda receipt: hashlib.sha256(repr(receipt).encode()).hexdigest()[:8],
)  # fmt: skip
def test_a_receipt_has_one_form(receipt):
    assert failed(edited("leaf", to=VALUE["leaf"])) is None
    assert failed(receipt)


def refused_or_the_same(data):
    """A changed receipt fails, or says the same to every JSON reader (white space, another escape)."""
    if failed(data) is None:
        assert json.loads(data) == VALUE


def test_no_flip_of_a_byte_anywhere_passes():
    passed = 0
    positions = range(len(RECEIPT)) if os.environ.get("BROCH_NIGHTLY") else range(0, len(RECEIPT), 3)
    for position in positions:
        bit = 1 << (position % 8)
        data = RECEIPT[:position] + bytes([RECEIPT[position] ^ bit]) + RECEIPT[position + 1 :]
        refused_or_the_same(data)
        passed += failed(data) is None
    assert passed < len(positions) // 20


@given(st.data())
@settings(max_examples=count("receipts: mutations", ci=150, nightly=10_000), deadline=None)
def test_a_mutated_receipt_is_refused_or_says_the_same(data):
    start = data.draw(st.integers(0, len(RECEIPT)), "start")
    end = data.draw(st.integers(start, min(len(RECEIPT), start + 40)), "end")
    piece = data.draw(
        st.binary(max_size=8)
        | st.sampled_from([b"0", b"\n", b",", b'"', b"}", b"\\u0061", b"null", b"="])
        | st.integers(0, len(RECEIPT) - 20).map(lambda at: RECEIPT[at : at + 20]),
        "piece",
    )
    refused_or_the_same(RECEIPT[:start] + piece + RECEIPT[end:])


def nodes(value, path=()):
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from nodes(value[key], (*path, key))


@given(st.sampled_from([path for path in nodes(VALUE) if path]), st.data())
@settings(max_examples=count("receipts: values replaced", ci=150, nightly=10_000), deadline=None)
def test_a_receipt_with_another_value_anywhere_is_refused(path, data):
    other = data.draw(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({})
        | st.sampled_from([p for p in nodes(VALUE) if p]).map(lambda p: at(VALUE, p))
    )  # fmt: skip
    if canonical_or_none(other) != canonical_or_none(at(VALUE, path)):
        assert failed(edited(*path, to=other))


def canonical_or_none(value):
    return json.dumps(value, sort_keys=True)


def at(value, path):
    for name in path:
        value = value[name]
    return value


# Making them


@pytest.mark.parametrize(
    "changes",
    [
        {"reviewers": ("01ALICE",)}, {"reviewers": ("a", "a")}, {"reviewers": ("a", "")}, {"files": ()}, {"policy_digest": "x"},
        {"files": (ReleasedFile("a", "0" * 64),) * 2}, {"files": (ReleasedFile("a", "0" * 63),)}, {"origin": "a b"},
        *[{"files": (ReleasedFile(name, "0" * 64),)} for name in ("", "/a", "a/../b", "a//b", "a\\b", "a\nb", "a\u202eb", ".")],
        {"checks": (CheckSummary("a", "fine", "e"),)}, {"release_id": "x" * 200},
    ],
)  # fmt: skip
def test_a_statement_that_a_verifier_would_refuse_is_not_made(changes):
    assert ReleaseStatement.parse(make_statement().payload()) == make_statement()
    with pytest.raises(Malformed):
        make_statement(**changes)


def test_a_receipt_whose_parts_do_not_belong_together_is_not_made():
    with pytest.raises(Malformed, match="does not commit"):
        World().release(leaf=make_leaf(b"another statement"))
    with pytest.raises(InvalidProof, match="different logs"):
        World().release(make_statement(origin="other.example"))
    with pytest.raises(Malformed, match="not valid"):
        World().release(make_statement(released_at=NOW - 2 * DAY))


def test_a_release_of_many_files_fits_or_is_refused_when_it_is_made():
    files = tuple(ReleasedFile(f"f{n:04}.csv", "0" * 64) for n in range(5000))
    receipt = World().release(make_statement(files=files))
    assert failed(receipt, files={"f0001.csv": "0" * 64}) is None
    long = tuple(ReleasedFile(f"{n:04}" + "x" * 200, "0" * 64) for n in range(5000))
    with pytest.raises(Malformed, match="fewer files"):
        make_statement(files=long).payload()
