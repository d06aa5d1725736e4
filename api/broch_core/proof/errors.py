"""Errors of the proof core. All are `ValueError`s: a proof that does not hold is bad input, never a state of ours."""

from __future__ import annotations


class ProofError(ValueError):
    """Something offered as proof does not hold; the message says why, for the person who checks."""


class Malformed(ProofError):
    """Bytes that do not have the exact form they claim to have."""


class NotCanonical(ProofError):
    """A value that has no RFC 8785 form, or bytes that are not in that form."""


class InvalidProof(ProofError):
    """An inclusion or consistency proof that does not lead to the root it should."""


class BadSignature(ProofError):
    """No trusted key signed this, or a trusted key's signature does not match."""


class Recalled(ProofError):
    """The release was taken back."""


class KeyUnavailable(ProofError):
    """There is no usable key: none for this moment, or its file is not safe to use."""
