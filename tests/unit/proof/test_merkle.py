"""The tree against its definition and against published vectors."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_core.proof.errors import InvalidProof
from broch_core.proof.merkle import (
    EMPTY_ROOT,
    MemoryNodes,
    MerkleTree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from support.counts import count

# The vectors of Certificate Transparency's reference implementation (also in Trillian): leaves, roots, proofs.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A, B, C = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
)
D, E, F, G = (
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
)
INCLUSION = [
    (0, 1, []),
    (0, 8, [A, B, C]),
    (5, 8, [D, E, F]),
    (2, 3, [ROOTS[2]]),
    (1, 5, [ROOTS[1], B, D]),
]
CONSISTENCY = [(1, 1, []), (1, 8, [A, B, C]), (6, 8, [G, E, F]), (2, 5, [B, D])]
HASHES = [leaf_hash(data) for data in LEAVES]


def tree_of(leaves):
    tree = MerkleTree(MemoryNodes())
    tree.append([leaf_hash(data) for data in leaves])
    return tree


def mth(leaves):
    """The definition of RFC 6962 2.1, word for word."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\0" + leaves[0]).digest() if leaves else hashlib.sha256(b"").digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m, leaves):
    """PATH(m, D[n]) of RFC 6962 2.1.1."""
    if len(leaves) < 2:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m, leaves, whole):
    """SUBPROOF(m, D[n], b) of RFC 6962 2.1.2."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


@pytest.mark.parametrize("size", range(9))
def test_the_root_is_the_published_one(size):
    assert tree_of(LEAVES[:size]).root().hex() == ROOTS[size]
    assert tree_of(LEAVES).root(size).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "proof"), INCLUSION)
def test_the_inclusion_proof_is_the_published_one(index, size, proof):
    assert [node.hex() for node in tree_of(LEAVES).inclusion_proof(index, size)] == proof
    verify_inclusion(
        HASHES[index], index, size, [bytes.fromhex(n) for n in proof], bytes.fromhex(ROOTS[size])
    )


@pytest.mark.parametrize(("old", "new", "proof"), CONSISTENCY)
def test_the_consistency_proof_is_the_published_one(old, new, proof):
    assert [node.hex() for node in tree_of(LEAVES).consistency_proof(old, new)] == proof
    roots = bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new])
    verify_consistency(old, new, *roots, [bytes.fromhex(n) for n in proof])


def test_every_proof_up_to_33_leaves_is_that_of_the_definition_and_verifies():
    leaves = [b"%d" % n for n in range(33)]
    tree = tree_of(leaves)
    for size in range(1, 34):
        root = mth(leaves[:size])
        assert tree.root(size) == root
        for index in range(size):
            proof = tree.inclusion_proof(index, size)
            assert proof == path(index, leaves[:size])
            verify_inclusion(leaf_hash(leaves[index]), index, size, proof, root)
        for old in range(1, size + 1):
            proof = tree.consistency_proof(old, size)
            assert proof == subproof(old, leaves[:size], True)
            verify_consistency(old, size, mth(leaves[:old]), root, proof)


@given(st.lists(st.lists(st.binary(max_size=4), max_size=9), max_size=6))
@settings(max_examples=count("tree: batches against the definition", ci=60, nightly=3000), deadline=None)
def test_a_tree_grown_in_batches_and_reopened_is_the_tree_of_all_leaves(batches):
    store, size, leaves = MemoryNodes(), 0, []
    for batch in batches:
        size = MerkleTree(store, size).append([leaf_hash(data) for data in batch])
        leaves += batch
    assert size == len(leaves)
    assert MerkleTree(store, size).root() == mth(leaves)


def wrong_inclusions(index, size, proof):
    yield index + 1, size, proof
    yield index - 1, size, proof
    yield index ^ 2, size, proof
    yield index, size * 2, proof
    yield index, size // 2, proof
    yield index, size, [*proof, EMPTY_ROOT]
    yield index, size, [EMPTY_ROOT, *proof]
    yield index, size, proof[:-1]
    yield index, size, proof[1:]
    yield index, size, [*proof[:-1], proof[-1][:-1]]
    for n in range(len(proof)):
        yield index, size, [*proof[:n], EMPTY_ROOT, *proof[n + 1 :]]


@pytest.mark.parametrize(("index", "size", "proof"), INCLUSION[1:])
def test_a_wrong_inclusion_proof_is_refused(index, size, proof):
    hashes = [bytes.fromhex(n) for n in proof]
    root = bytes.fromhex(ROOTS[size])
    for wrong in wrong_inclusions(index, size, hashes):
        with pytest.raises(InvalidProof):
            verify_inclusion(HASHES[index], *wrong, root)
    for leaf, head in ((HASHES[index - 1], root), (HASHES[index], EMPTY_ROOT), (HASHES[index], b"short")):
        with pytest.raises(InvalidProof):
            verify_inclusion(leaf, index, size, hashes, head)


@pytest.mark.parametrize(("old", "new", "proof"), CONSISTENCY[1:])
def test_a_wrong_consistency_proof_is_refused(old, new, proof):
    hashes = [bytes.fromhex(n) for n in proof]
    first, second = bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new])
    wrong = [
        (old - 1, new, first, second, hashes),
        (old + 1, new, first, second, hashes),
        (old, new * 2, first, second, hashes),
        (old, new // 2, first, second, hashes),
        (new, old, second, first, hashes),
        (old, new, second, first, hashes),
        (old, new, EMPTY_ROOT, second, hashes),
        (old, new, first, EMPTY_ROOT, hashes),
        (old, new, first, second, []),
        (old, new, first, second, hashes[:-1]),
        (old, new, first, second, [*hashes, first]),
        (old, new, first, second, [hashes[0], *hashes]),
        *[(old, new, first, second, [*hashes[:n], EMPTY_ROOT, *hashes[n + 1 :]]) for n in range(len(hashes))],
    ]
    for case in wrong:
        with pytest.raises(InvalidProof):
            verify_consistency(*case)


def test_trees_of_nothing_and_of_one_size_need_no_proof_but_the_right_roots():
    root = bytes.fromhex(ROOTS[3])
    verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    verify_consistency(0, 3, EMPTY_ROOT, root, [])
    verify_consistency(3, 3, root, root, [])
    for case in [
        (0, 3, root, root, []),
        (3, 3, root, EMPTY_ROOT, []),
        (3, 3, root, root, [root]),
        (0, 3, EMPTY_ROOT, root, [root]),
        (0, 0, root, root, []),
    ]:
        with pytest.raises(InvalidProof):
            verify_consistency(*case)


def test_a_forked_log_has_no_consistency_proof_to_the_old_one():
    honest, forked = tree_of(LEAVES), tree_of([*LEAVES[:2], b"rewritten", *LEAVES[3:]])
    verify_consistency(5, 8, honest.root(5), honest.root(8), honest.consistency_proof(5, 8))
    with pytest.raises(InvalidProof):
        verify_consistency(5, 8, honest.root(5), forked.root(8), forked.consistency_proof(5, 8))


class Counting(MemoryNodes):
    def __init__(self) -> None:
        super().__init__()
        self.reads = self.writes = self.nodes_read = 0
        self.broken = False

    def read(self, ids):
        self.reads += 1
        self.nodes_read += len(ids)
        return super().read(ids)

    def write(self, nodes):
        if self.broken:
            raise OSError("full")
        self.writes += 1
        super().write(nodes)


def test_an_append_costs_one_small_read_and_one_write_however_large_the_tree():
    store = Counting()
    tree = MerkleTree(store)
    hashes = [leaf_hash(b"%d" % n) for n in range(10_000)]
    tree.append(hashes)
    store.reads = store.writes = store.nodes_read = 0
    before = len(store.nodes)
    tree.append(hashes)
    assert (store.reads, store.writes) == (1, 1)
    assert store.nodes_read <= 64
    assert len(store.nodes) - before < 2 * len(hashes) + 64


def test_a_store_that_fails_leaves_the_tree_as_it_was():
    store = Counting()
    tree = MerkleTree(store)
    tree.append(HASHES[:3])
    store.broken = True
    with pytest.raises(OSError, match="full"):
        tree.append(HASHES[3:])
    assert (tree.size, tree.root().hex()) == (3, ROOTS[3])
    store.broken = False
    tree.append(HASHES[3:])
    assert tree.root().hex() == ROOTS[8]


def test_a_missing_or_rewritten_node_is_an_error_not_another_root():
    store = MemoryNodes()
    tree = MerkleTree(store)
    tree.append(HASHES)
    with pytest.raises(InvalidProof):
        store.write({(0, 3): EMPTY_ROOT})
    del store.nodes[2, 1]
    tree.root()
    with pytest.raises(InvalidProof, match="lacks node 1 of level 2"):
        tree.inclusion_proof(0)


def test_leaves_sizes_and_indexes_that_cannot_be_are_refused():
    tree = tree_of(LEAVES)
    for call in (
        lambda: tree.append([b"short"]),
        lambda: tree.root(9),
        lambda: tree.root(-1),
        lambda: tree.inclusion_proof(8),
        lambda: tree.inclusion_proof(-1),
        lambda: tree.inclusion_proof(4, 4),
        lambda: tree.consistency_proof(5, 4),
        lambda: MerkleTree(MemoryNodes(), -1),
    ):
        with pytest.raises(InvalidProof):
            call()
    assert tree.size == 8


def test_a_leaf_cannot_pass_as_a_node():
    left, right = HASHES[:2]
    assert leaf_hash(left + right) != node_hash(left, right)
