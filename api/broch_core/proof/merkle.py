"""The Merkle tree of RFC 6962 and RFC 9162 (section 2.1), SHA-256.

Stored are the roots of complete subtrees alone: node (level, index) covers the leaves from index * 2^level up to, not
including, (index + 1) * 2^level. Such a node never changes once written, so the store only ever grows and any older
size of the tree can be proved from it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from broch_core.proof.errors import InvalidProof

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of the tree without leaves (RFC 9162 2.1.1)."""

NodeId = tuple[int, int]
"""(level, index): level 0 holds the leaf hashes."""
Span = tuple[int, int]
"""(first leaf, one past the last leaf)."""


def leaf_hash(data: bytes) -> bytes:
    """Hash a leaf: SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two children: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class NodeStore(Protocol):
    """Where the nodes live. Both calls take many at once: a database then needs one statement for each."""

    def read(self, ids: Sequence[NodeId]) -> Mapping[NodeId, bytes]:
        """Return the hashes of these nodes; one that is not there is left out."""

    def write(self, nodes: Mapping[NodeId, bytes]) -> None:
        """Add nodes that are not there yet; all or none."""


class MemoryNodes:
    """A `NodeStore` in a dict. Refuses to change a node."""

    def __init__(self) -> None:
        self.nodes: dict[NodeId, bytes] = {}

    def read(self, ids: Sequence[NodeId]) -> Mapping[NodeId, bytes]:
        """Return the hashes of these nodes."""
        return {node: self.nodes[node] for node in ids if node in self.nodes}

    def write(self, nodes: Mapping[NodeId, bytes]) -> None:
        """Add nodes.

        Raises:
            InvalidProof: one of them is there already.
        """
        if not self.nodes.keys().isdisjoint(nodes):
            raise InvalidProof("A node of the tree cannot be written twice.")
        self.nodes.update(nodes)


class MerkleTree:
    """An append-only tree of `size` leaves over a store that already holds their nodes."""

    def __init__(self, store: NodeStore, size: int = 0) -> None:
        if size < 0:
            raise InvalidProof("A tree has no fewer than 0 leaves.")
        self._store = store
        self.size = size

    def append(self, leaf_hashes: Sequence[bytes]) -> int:
        """Append leaves, given by their leaf hashes; return the new size.

        One read of at most 64 nodes and one write of fewer than 2n + 64, however large the tree is. When the store
        refuses the write, the tree is as before.
        """
        peaks = _cover((0, self.size))
        found = self._read(peaks)
        # Roots of the complete subtrees, largest first, each with its level: a binary counter.
        stack = [(level, found[level, index]) for level, index in peaks]
        new: dict[NodeId, bytes] = {}
        for position, leaf in enumerate(leaf_hashes, start=self.size):
            if len(leaf) != HASH_SIZE:
                raise InvalidProof("A leaf hash has 32 bytes.")
            level, index, node = 0, position, leaf
            new[level, index] = node
            while stack and stack[-1][0] == level:
                node = node_hash(stack.pop()[1], node)
                level, index = level + 1, index >> 1
                new[level, index] = node
            stack.append((level, node))
        if new:
            self._store.write(new)
            self.size += len(leaf_hashes)
        return self.size

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first `size` leaves (default: all)."""
        span = (0, self._checked(size))
        return self._hashes([span])[0]

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the audit path of a leaf in the tree of `size` leaves (RFC 9162 2.1.3.1).

        Raises:
            InvalidProof: there is no such leaf or size, or a node is missing.
        """
        size = self._checked(size)
        if not 0 <= index < size:
            raise InvalidProof(f"A tree of {size} leaves has no leaf {index}.")
        first, end, spans = 0, size, []
        while end - first > 1:
            middle = first + _split(end - first)
            if index < middle:
                spans.append((middle, end))
                end = middle
            else:
                spans.append((first, middle))
                first = middle
        return self._hashes(spans[::-1])

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """Return the proof that the tree of `new` leaves begins with the one of `old` (RFC 9162 2.1.4.1).

        Empty where nothing needs a proof: `old` is 0 or `new`.

        Raises:
            InvalidProof: these are no sizes that the tree had, or a node is missing.
        """
        new = self._checked(new)
        if not 0 <= old <= new:
            raise InvalidProof(f"A tree of {new} leaves did not grow from one of {old}.")
        if old in {0, new}:
            return []
        first, end, spans, whole = 0, new, [], True
        while old != end:
            middle = first + _split(end - first)
            if old <= middle:
                spans.append((middle, end))
                end = middle
            else:
                spans.append((first, middle))
                first = middle
                whole = False
        if not whole:  # the verifier knows the old root itself only when it is a subtree on the left edge
            spans.append((first, end))
        return self._hashes(spans[::-1])

    def _checked(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise InvalidProof(f"The tree has {self.size} leaves, not {size}.")
        return size

    def _hashes(self, spans: Sequence[Span]) -> list[bytes]:
        """Hash each span of leaves, all from one read."""
        covers = [_cover(span) for span in spans]
        found = self._read([node for cover in covers for node in cover])
        return [_fold([found[node] for node in cover]) for cover in covers]

    def _read(self, ids: Sequence[NodeId]) -> Mapping[NodeId, bytes]:
        found = self._store.read(ids) if ids else {}
        for node in ids:
            if len(found.get(node, b"")) != HASH_SIZE:
                raise InvalidProof(f"The store lacks node {node[1]} of level {node[0]}.")
        return found


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf hash is leaf `index` of the tree of `size` leaves with this root (RFC 9162 2.1.3.2).

    Raises:
        InvalidProof: it is not shown to be.
    """
    _check_hashes([leaf, root, *proof])
    if not 0 <= index < size:
        raise InvalidProof(f"A tree of {size} leaves has no leaf {index}.")
    fn, sn, node = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            raise InvalidProof("The inclusion proof is too long.")
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise InvalidProof("The inclusion proof is too short.")
    if not hmac.compare_digest(node, root):
        raise InvalidProof("The inclusion proof does not lead to the root of the checkpoint.")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `new` leaves begins with the tree of `old` leaves (RFC 9162 2.1.4.2).

    Raises:
        InvalidProof: it is not shown to.
    """
    _check_hashes([old_root, new_root, *proof])
    if not _needs_proof(old, new, old_root, new_root, proof):
        return
    path = list(proof)
    if old & (old - 1) == 0:  # an exact power of two: the old root is itself a node of the new tree
        path.insert(0, old_root)
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for node in path[1:]:
        if sn == 0:
            raise InvalidProof("The consistency proof is too long.")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(node, fr), node_hash(node, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, node)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise InvalidProof("The consistency proof is too short.")
    if not (hmac.compare_digest(fr, old_root) and hmac.compare_digest(sr, new_root)):
        raise InvalidProof("The log of the newer checkpoint does not continue the older one.")


def _needs_proof(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Settle the sizes that RFC 9162 leaves out (nothing, or nothing new); tell whether a proof is to be walked."""
    if not 0 <= old <= new:
        raise InvalidProof(f"A tree of {new} leaves did not grow from one of {old}.")
    if (old == 0 and old_root != EMPTY_ROOT) or (new == 0 and new_root != EMPTY_ROOT):
        raise InvalidProof("The root of an empty tree is the hash of nothing.")
    if old not in {0, new}:
        if not proof:
            raise InvalidProof("The consistency proof is empty.")
        return True
    if proof or (old == new and old_root != new_root):
        raise InvalidProof("Two trees of one size have different roots, or a proof where none is needed.")
    return False


def _split(count: int) -> int:
    """Return the largest power of two smaller than `count` (> 1)."""
    return 1 << ((count - 1).bit_length() - 1)


def _cover(span: Span) -> list[NodeId]:
    """Return the complete subtrees that make up a span starting at a multiple of its own size, largest first."""
    first, end = span
    nodes: list[NodeId] = []
    while first < end:
        level = (end - first).bit_length() - 1
        nodes.append((level, first >> level))
        first += 1 << level
    return nodes


def _fold(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        return EMPTY_ROOT
    node = hashes[-1]
    for left in reversed(hashes[:-1]):
        node = node_hash(left, node)
    return node


def _check_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(node) != HASH_SIZE for node in hashes):
        raise InvalidProof("A hash in the proof has not 32 bytes.")
