"""What every store of blobs keeps to, whatever lies below it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from broch_core.blobs import BlobClass, Blobs
from broch_core.errors import NotFound, TooLarge, Unavailable

PROJECT, OTHER = "0" * 26, "1" * 26
DATA = b"".join(number.to_bytes(4, "big") for number in range(400_000))
SHA256 = hashlib.sha256(DATA).hexdigest()


def put(blobs: Blobs, data: bytes = DATA, class_: BlobClass = BlobClass.DRAFT) -> str:
    with blobs.writer(PROJECT, len(data)) as writer:
        for start in range(0, len(data), 300_000):
            writer.write(data[start : start + 300_000])
        return writer.commit(class_)


def bytes_come_back_as_they_were(blobs: Blobs) -> None:
    assert put(blobs) == SHA256
    with blobs.open(PROJECT, BlobClass.DRAFT, SHA256) as file:
        assert file.read(7) == DATA[:7]
        assert file.read() == DATA[7:]
    with blobs.local(PROJECT, BlobClass.DRAFT, SHA256) as path:
        assert path.read_bytes() == DATA
    assert put(blobs, b"") == hashlib.sha256(b"").hexdigest()


def nothing_is_there_before_the_commit(blobs: Blobs) -> None:
    with blobs.writer(PROJECT, len(DATA)) as writer:
        writer.write(DATA)
        assert writer.seal() == SHA256
        assert not blobs.exists(PROJECT, BlobClass.DRAFT, SHA256)
    assert not blobs.exists(PROJECT, BlobClass.DRAFT, SHA256)
    assert list(blobs.temporary.iterdir()) == []


def no_byte_over_the_limit_is_taken(blobs: Blobs) -> None:
    with blobs.writer(PROJECT, 3) as writer:
        writer.write(b"abc")
        with pytest.raises(TooLarge):
            writer.write(b"d")


def projects_and_classes_are_apart(blobs: Blobs) -> None:
    put(blobs)
    assert blobs.exists(PROJECT, BlobClass.DRAFT, SHA256)
    assert not blobs.exists(OTHER, BlobClass.DRAFT, SHA256)
    assert not blobs.exists(PROJECT, BlobClass.RELEASED, SHA256)
    with pytest.raises(NotFound):
        blobs.open(OTHER, BlobClass.DRAFT, SHA256)


def copies_come_into_the_next_class_and_stay_in_the_last(blobs: Blobs) -> None:
    put(blobs)
    for _ in range(2):  # done already is done
        blobs.copy(PROJECT, {SHA256: BlobClass.DRAFT}, BlobClass.HELD)
    assert blobs.exists(PROJECT, BlobClass.DRAFT, SHA256)
    blobs.delete(PROJECT, BlobClass.DRAFT, SHA256)
    blobs.copy(PROJECT, {SHA256: BlobClass.DRAFT}, BlobClass.HELD)
    with blobs.open(PROJECT, BlobClass.HELD, SHA256) as file:
        assert file.read() == DATA
    with pytest.raises(NotFound):
        blobs.copy(PROJECT, {"0" * 64: BlobClass.DRAFT}, BlobClass.HELD)


def deleting_twice_is_deleting(blobs: Blobs) -> None:
    first, second = put(blobs, b"first"), put(blobs, b"second")
    for _ in range(2):
        blobs.delete(PROJECT, BlobClass.DRAFT, first, second)
    assert not blobs.exists(PROJECT, BlobClass.DRAFT, first)


def what_is_no_digest_names_nothing(blobs: Blobs) -> None:
    for project, sha256 in (
        (PROJECT, "../" + "0" * 61),
        ("../" + "0" * 23, SHA256),
        (PROJECT, SHA256.upper()),
    ):
        with pytest.raises(NotFound):
            blobs.open(project, BlobClass.DRAFT, sha256)
        with pytest.raises(NotFound):
            blobs.exists(project, BlobClass.DRAFT, sha256)


def a_whole_file_is_adopted(blobs: Blobs) -> None:
    path = blobs.uploads / "whole"
    blobs.uploads.mkdir(parents=True, exist_ok=True)
    path.write_bytes(DATA)
    for _ in range(2):
        blobs.adopt(path, PROJECT, BlobClass.DRAFT, SHA256)
    path.unlink()
    with blobs.open(PROJECT, BlobClass.DRAFT, SHA256) as file:
        assert file.read() == DATA


def dead_writers_leave_nothing_after_a_sweep(blobs: Blobs) -> None:
    (blobs.temporary / "left").write_bytes(b"half")
    blobs.sweep()
    assert list(blobs.temporary.iterdir()) == []


def bytes_that_change_on_the_way_are_refused(blobs: Blobs) -> None:
    """Of servers that compare the SHA-256 that comes with the bytes; moto's does not."""
    whole = blobs.temporary / "whole"
    whole.write_bytes(DATA)
    blobs.adopt(whole, PROJECT, BlobClass.DRAFT, SHA256)
    whole.write_bytes(DATA + b"more")
    with pytest.raises(Unavailable):
        blobs.adopt(whole, PROJECT, BlobClass.HELD, SHA256)
    assert not blobs.exists(PROJECT, BlobClass.HELD, SHA256)


CONTRACT: tuple[Callable[[Blobs], None], ...] = (
    bytes_come_back_as_they_were,
    nothing_is_there_before_the_commit,
    no_byte_over_the_limit_is_taken,
    projects_and_classes_are_apart,
    copies_come_into_the_next_class_and_stay_in_the_last,
    deleting_twice_is_deleting,
    what_is_no_digest_names_nothing,
    a_whole_file_is_adopted,
    dead_writers_leave_nothing_after_a_sweep,
)
