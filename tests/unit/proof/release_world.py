"""Builders: one Broch with keys and a log, and a release in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broch_core.proof import (
    RELEASE_ACTION,
    Checkpoint,
    CheckSummary,
    Direction,
    Envelope,
    KeySigner,
    MemoryNodes,
    MerkleTree,
    Purpose,
    ReleasedFile,
    ReleaseStatement,
    TrustedKey,
    TrustFile,
    build_receipt,
    canonical,
    leaf_hash,
    sign_checkpoint,
    statement_digest,
)

ORIGIN = "broch.example/log"
NOW = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)
FILES = {"table.csv": b"a,b\n1,2\n", "plots/fit.png": b"\x89PNG fit"}
DIGESTS = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}


def make_signer(purpose, seed=None, *, start=NOW - timedelta(days=1), end=None):
    seed = seed or {"statement": 1, "checkpoint": 2}[purpose]
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return KeySigner(
        private, TrustedKey(Purpose(purpose), private.public_key().public_bytes_raw(), start, end)
    )


def make_statement(**changes):
    statement = ReleaseStatement(
        release_id="01RELEASE",
        project_id="01PROJECT",
        request_id="01REQUEST",
        direction=Direction.EGRESS,
        released_at=NOW,
        reviewers=("01ALICE", "01BOB"),
        policy_digest="ab" * 32,
        checks=(CheckSummary("antivirus", "clean", "clamd 1.4.2"),),
        origin=ORIGIN,
        files=tuple(ReleasedFile(name, digest) for name, digest in DIGESTS.items()),
    )
    return replace(statement, **changes)


def make_leaf(payload, **changes):
    leaf = {
        "v": 1,
        "id": "01RECORD",
        "at": "2026-03-01T12:00:00.200Z",
        "actor": "system",
        "action": RELEASE_ACTION,
        "outcome": "allowed",
        "subject": {"kind": "airlock-request", "id": "01REQUEST"},
        "project": "01PROJECT",
        "facts": {"statement_sha256": statement_digest(payload)},
        "personal": None,
    }
    return canonical(leaf | changes)


@dataclass
class World:
    statement_signer: KeySigner = field(default_factory=lambda: make_signer("statement"))
    checkpoint_signer: KeySigner = field(default_factory=lambda: make_signer("checkpoint"))
    tree: MerkleTree = field(default_factory=lambda: MerkleTree(MemoryNodes()))

    def trust(self):
        return TrustFile(ORIGIN, (self.statement_signer.key, self.checkpoint_signer.key))

    def grow(self, count):
        self.tree.append([leaf_hash(b"other %d" % n) for n in range(self.tree.size, self.tree.size + count)])

    def checkpoint(self, origin=ORIGIN):
        return sign_checkpoint(Checkpoint(origin, self.tree.size, self.tree.root()), [self.checkpoint_signer])

    def release(self, statement=None, *, before=5, after=6, leaf=None, envelope: Envelope | None = None):
        """Return the bytes of a receipt."""
        if envelope is None:
            envelope = (statement or make_statement()).sign([self.statement_signer])
        leaf = leaf or make_leaf(envelope.payload)
        self.grow(before)
        index = self.tree.size
        self.tree.append([leaf_hash(leaf)])
        self.grow(after)
        proof = self.tree.inclusion_proof(index)
        return build_receipt(envelope, leaf, index=index, hashes=proof, checkpoint=self.checkpoint())
