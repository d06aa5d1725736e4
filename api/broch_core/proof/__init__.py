"""Proof: the Merkle tree, signed checkpoints, signed statements and the receipts made of them.

Everything here but `keyfiles` and `verify_cli` is pure, and all of it needs the standard library, `cryptography` and
`rfc8785` alone: what a server signs, anybody checks without one. `docs/proof.md` describes the formats.
"""

from broch_core.proof.attestation import (
    CheckSummary,
    Direction,
    ReleasedFile,
    ReleaseStatement,
    statement_digest,
)
from broch_core.proof.canonical import canonical
from broch_core.proof.certificate import build_certificate, verify_certificate
from broch_core.proof.deletion import DELETION_ACTION, DeletionStatement
from broch_core.proof.dsse import Envelope, sign_envelope, verify_envelope
from broch_core.proof.errors import (
    BadSignature,
    InvalidProof,
    KeyUnavailable,
    Malformed,
    NotCanonical,
    ProofError,
)
from broch_core.proof.keyfiles import KeyFolder
from broch_core.proof.merkle import (
    EMPTY_ROOT,
    MemoryNodes,
    MerkleTree,
    NodeId,
    NodeStore,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from broch_core.proof.notes import Checkpoint, Note, VerifierKey, sign_checkpoint, verify_checkpoint
from broch_core.proof.recalls import RecallList
from broch_core.proof.receipt import RELEASE_ACTION, Receipt, build_receipt
from broch_core.proof.signer import KeySigner, Signer
from broch_core.proof.trust import Purpose, TrustedKey, TrustFile
from broch_core.proof.verification import Newer, Outcome, Step, VerificationReport, verify_receipt
from broch_core.proof.verify_cli import run_verify

__all__ = [
    "DELETION_ACTION",
    "EMPTY_ROOT",
    "RELEASE_ACTION",
    "BadSignature",
    "CheckSummary",
    "Checkpoint",
    "DeletionStatement",
    "Direction",
    "Envelope",
    "InvalidProof",
    "KeyFolder",
    "KeySigner",
    "KeyUnavailable",
    "Malformed",
    "MemoryNodes",
    "MerkleTree",
    "Newer",
    "NodeId",
    "NodeStore",
    "NotCanonical",
    "Note",
    "Outcome",
    "ProofError",
    "Purpose",
    "RecallList",
    "Receipt",
    "ReleaseStatement",
    "ReleasedFile",
    "Signer",
    "Step",
    "TrustFile",
    "TrustedKey",
    "VerificationReport",
    "VerifierKey",
    "build_certificate",
    "build_receipt",
    "canonical",
    "leaf_hash",
    "node_hash",
    "run_verify",
    "sign_checkpoint",
    "sign_envelope",
    "statement_digest",
    "verify_certificate",
    "verify_checkpoint",
    "verify_consistency",
    "verify_envelope",
    "verify_inclusion",
    "verify_receipt",
]
