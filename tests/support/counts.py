"""How often an expensive property is tried: few times in CI, many under `--nightly`; both are printed."""

import os

COUNTS: dict[str, tuple[int, int]] = {}
NIGHTLY = os.environ.get("BROCH_NIGHTLY") == "1"


def count(name: str, *, ci: int, nightly: int) -> int:
    """Return how many examples `name` gets in this run; the end of the test run prints all of them."""
    COUNTS[name] = (ci, nightly)
    return nightly if NIGHTLY else ci
