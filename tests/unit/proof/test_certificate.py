"""Deletion certificates: what they say holds offline, and nothing else passes for one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from broch_core.proof import (
    DELETION_ACTION,
    DeletionStatement,
    Malformed,
    ReleasedFile,
    build_certificate,
    leaf_hash,
    run_verify,
    verify_certificate,
    verify_receipt,
)
from unit.proof.release_world import DIGESTS, FILES, NOW, ORIGIN, World, make_leaf, make_signer

STATEMENT = DeletionStatement(
    deletion_id="01DELETION",
    project_id="01PROJECT",
    request_id="01REQUEST",
    storage_class="quarantined",
    at_rest_since=NOW - timedelta(days=30),
    retention_seconds=30 * 86400,
    deleted_at=NOW,
    origin=ORIGIN,
    files=tuple(ReleasedFile(name, digest) for name, digest in DIGESTS.items()),
    kept=("ab" * 32,),
)


def certificate(world: World, statement: DeletionStatement = STATEMENT, **leaf: object) -> bytes:
    envelope = statement.sign([world.statement_signer])
    record = make_leaf(envelope.payload, **{"action": DELETION_ACTION, **leaf})
    world.grow(5)
    index = world.tree.size
    world.tree.append([leaf_hash(record)])
    world.grow(3)
    proof = world.tree.inclusion_proof(index)
    return build_certificate(envelope, record, index=index, hashes=proof, checkpoint=world.checkpoint())


def test_a_certificate_verifies_alone_and_says_what_was_deleted_and_kept():
    world = World()
    report = verify_certificate(certificate(world), {}, world.trust())
    assert report.ok
    said = "\n".join(map(str, report.steps))
    for name, digest in DIGESTS.items():
        assert (
            f"deleted {name}: Broch deleted its quarantined bytes at 2026-03-01T12:00:00.123000Z: sha256 {digest}"
            in said
        )
    assert f"another request holds these bytes too: sha256 {'ab' * 32}" in said


def test_copies_at_hand_are_told_from_strangers():
    world = World()
    made = certificate(world)
    assert verify_certificate(made, {"copy.csv": DIGESTS["table.csv"]}, world.trust()).ok
    assert not verify_certificate(made, {"table.csv": "00" * 32}, world.trust()).ok


def test_no_flip_of_a_byte_anywhere_passes():
    world = World()
    made = certificate(world)
    value = json.loads(made)
    for at in range(0, len(made), 7):
        changed = made[:at] + bytes([made[at] ^ 1]) + made[at + 1 :]
        try:
            same = json.loads(changed) == value
        except ValueError:
            same = False
        assert same or not verify_certificate(changed, {}, world.trust()).ok, at


def test_keys_are_believed_for_their_period_alone():
    old = make_signer("statement", end=NOW)
    with pytest.raises(Malformed, match="not valid"):
        STATEMENT.sign([old])
    world = World()
    made = certificate(world)
    other = replace(world.trust(), keys=(make_signer("statement", seed=9).key, world.checkpoint_signer.key))
    assert not verify_certificate(made, {}, other).ok


@pytest.mark.parametrize(
    "leaf",
    [
        {"action": "airlock:release"},
        {"outcome": "denied"},
        {"project": "01OTHER"},
        {"subject": {"kind": "airlock-request", "id": "01OTHER"}},
        {"facts": {}},
    ],
)
def test_a_record_of_something_else_makes_no_certificate(leaf: dict[str, object]):
    with pytest.raises(Malformed):
        certificate(World(), **leaf)


@pytest.mark.parametrize(
    "change",
    [
        {"storage_class": "elsewhere"},
        {"files": ()},
        {"kept": (DIGESTS["table.csv"],)},
        {"at_rest_since": NOW + timedelta(seconds=1)},
        {"files": (ReleasedFile("../x", "ab" * 32),)},
        {"retention_seconds": -1},
    ],
)
def test_a_statement_that_cannot_be_true_is_not_made(change: dict[str, object]):
    with pytest.raises(Malformed):
        replace(STATEMENT, **change)


def test_a_receipt_is_no_certificate_and_a_certificate_no_receipt():
    world = World()
    assert not verify_certificate(world.release(), {}, world.trust()).ok
    assert not verify_receipt(certificate(world), DIGESTS, world.trust()).ok


def test_the_command_verifies_certificates_without_files(tmp_path):
    world = World()
    (tmp_path / "trust.json").write_bytes(world.trust().dump())
    (tmp_path / "certificate.json").write_bytes(certificate(world))
    (tmp_path / "receipt.json").write_bytes(world.release())
    (tmp_path / "table.csv").write_bytes(FILES["table.csv"])
    code, lines = run_verify(tmp_path / "trust.json", tmp_path / "certificate.json", [])
    assert (code, lines[-1]) == (0, "VERIFIED")
    assert (
        run_verify(tmp_path / "trust.json", tmp_path / "certificate.json", [tmp_path / "table.csv"])[0] == 0
    )
    assert (
        run_verify(tmp_path / "trust.json", tmp_path / "certificate.json", [tmp_path / "receipt.json"])[0]
        == 1
    )
    assert run_verify(tmp_path / "trust.json", tmp_path / "receipt.json", [])[0] == 2
    newer = run_verify(
        tmp_path / "trust.json", tmp_path / "certificate.json", [], recalls_path=tmp_path / "receipt.json"
    )
    assert newer[0] == 2
