"""Proof: the Merkle tree, signed checkpoints, signed statements and the receipts made of them."""
