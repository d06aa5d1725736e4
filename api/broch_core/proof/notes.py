"""Signed notes and checkpoints of a log (C2SP signed-note and tlog-checkpoint, c2sp.org)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from broch_core.proof import encoding
from broch_core.proof.errors import BadSignature, Malformed
from broch_core.proof.merkle import EMPTY_ROOT, HASH_SIZE
from broch_core.proof.signer import Signer, require
from broch_core.proof.trust import Purpose, TrustedKey, check_name

NOTE_LIMIT = 256 * 1024
"""Most bytes of a note: room for the 16 signatures of 5 kB that the specification asks verifiers to take."""
MOST_SIGNATURES = 64
_ED25519 = b"\x01"
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
_MARK = "\u2014 "


@dataclass(frozen=True)
class VerifierKey:
    """The public key of a note signer, with the name that its signatures carry."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public_key) != 32:
            raise Malformed("An Ed25519 public key has 32 bytes.")

    @property
    def key_hash(self) -> bytes:
        """First 4 bytes of SHA-256(name, newline, 0x01, public key): a hint, no proof."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public_key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{encoding.to_base64(_ED25519 + self.public_key)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read `name+hash+key`, as `note.NewVerifier` of Go does.

        Raises:
            Malformed: it is something else, or the hash belongs to another key.
        """
        parts = text.split("+", 2)  # base64 may hold a plus sign; a name may not
        if len(parts) != 3:
            raise Malformed("A verifier key has the form name+hash+key.")
        data = encoding.from_base64(parts[2], what="The key")
        if data[:1] != _ED25519:
            raise Malformed("The verifier key is not for Ed25519.")
        key = cls(parts[0], data[1:])
        if key.key_hash.hex() != parts[1]:
            raise Malformed("The hash in the verifier key belongs to another key.")
        return key


@dataclass(frozen=True)
class Note:
    """A text that ends in a newline, and signatures: (name, key hash, signature)."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    def dump(self) -> str:
        """Write the signed note."""
        lines = [f"{_MARK}{name} {encoding.to_base64(tag + sig)}\n" for name, tag, sig in self.signatures]
        return f"{self.text}\n{''.join(lines)}"

    @classmethod
    def parse(cls, note: str) -> Note:
        """Read a signed note strictly.

        Raises:
            Malformed: it has another form, or two signatures of one name and key hash.
        """
        if len(note.encode("utf-8", "replace")) > NOTE_LIMIT:
            raise Malformed(f"A signed note has at most {NOTE_LIMIT} bytes.")
        if any(ord(c) < 0x20 and c != "\n" for c in note) or any(0xD800 <= ord(c) <= 0xDFFF for c in note):
            raise Malformed("A signed note holds no control characters.")
        head, gap, tail = note.rpartition("\n\n")
        if not gap or not head or not tail.endswith("\n"):
            raise Malformed("A signed note is a text, an empty line, and signature lines.")
        lines = tail[:-1].split("\n")
        if len(lines) > MOST_SIGNATURES:
            raise Malformed(f"A signed note has at most {MOST_SIGNATURES} signatures.")
        signatures = tuple(_signature(line) for line in lines)
        if len({(name, tag) for name, tag, _ in signatures}) != len(signatures):
            raise Malformed("A signed note carries two signatures of one key.")
        return cls(head + "\n", signatures)


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log: its origin, how many leaves it has, and the root over them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{encoding.to_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a checkpoint. Extension lines are refused: Broch writes none.

        Raises:
            Malformed: it has another form.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise Malformed("A checkpoint has three lines: origin, size, root.")
        check_name(lines[0])
        if not _SIZE.fullmatch(lines[1]):
            raise Malformed("The size of a checkpoint is a decimal number without leading zeros.")
        root = encoding.from_base64(lines[2], what="The root of a checkpoint")
        if len(root) != HASH_SIZE:
            raise Malformed("The root of a checkpoint has 32 bytes.")
        size = int(lines[1])
        if (size == 0) != (root == EMPTY_ROOT):
            raise Malformed("The size and the root of a checkpoint contradict each other.")
        return cls(lines[0], size, root)


def sign_checkpoint(checkpoint: Checkpoint, signers: Sequence[Signer]) -> str:
    """Return the checkpoint as a note signed by checkpoint keys under the name of the log.

    Raises:
        BadSignature: no signer, or one for another purpose.
        Malformed: the origin is no name of a log.
    """
    check_name(checkpoint.origin)
    if not signers:
        raise BadSignature("A checkpoint needs a signature.")
    text = checkpoint.text()
    signatures = []
    for signer in signers:
        require(signer, Purpose.CHECKPOINT)
        tag = VerifierKey(checkpoint.origin, signer.key.public_key).key_hash
        signatures.append((checkpoint.origin, tag, signer.sign(text.encode())))
    return Note(text, tuple(signatures)).dump()


def verify_checkpoint(
    note: str, origin: str, keys: Sequence[TrustedKey]
) -> tuple[Checkpoint, tuple[TrustedKey, ...]]:
    """Return a checkpoint of this log, and the trusted keys that signed it; at least one did.

    Signatures of names and key hashes that are not listed (witnesses, say) are passed over, as the specification
    asks; every signature of a listed key has to match.

    Raises:
        BadSignature: no checkpoint key of the list signed, a signature does not match, or it is of another log.
        Malformed: it is no checkpoint.
    """
    parsed = Note.parse(note)
    known = {
        (origin, VerifierKey(origin, key.public_key).key_hash): key
        for key in keys
        if key.purpose is Purpose.CHECKPOINT
    }
    signed: list[TrustedKey] = []
    for name, tag, signature in parsed.signatures:
        key = known.get((name, tag))
        if key is not None:
            key.verify(signature, parsed.text.encode())
            signed.append(key)
    if not signed:
        raise BadSignature(f"No checkpoint key of the trust file for {origin} signed this checkpoint.")
    checkpoint = Checkpoint.parse(parsed.text)
    if checkpoint.origin != origin:
        raise BadSignature(f"The checkpoint is of another log, not of {origin}.")
    return checkpoint, tuple(signed)


def _signature(line: str) -> tuple[str, bytes, bytes]:
    if not line.startswith(_MARK):
        raise Malformed("A signature line of a note begins with an em dash and a space.")
    name, _, encoded = line.removeprefix(_MARK).partition(" ")
    check_name(name)
    data = encoding.from_base64(encoded, what="A signature of a note")
    if len(data) < 5:
        raise Malformed("A signature of a note is too short.")
    return name, data[:4], data[4:]
