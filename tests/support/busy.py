"""How long things may take on a machine that others load as well, and how much of the processor they took."""

import contextlib
import gc
import os
import time
from collections.abc import Iterator


def slower() -> float:
    """Return by what a limit is multiplied that holds for a machine of our own: 1, or who waits for each processor.

    The load is that of the last minute, and does not show what a hypervisor takes. Beside another lane of the run it is
    at least 2.
    """
    floor = 2.0 if "PYTEST_XDIST_WORKER" in os.environ else 1.0
    return max(floor, os.getloadavg()[0] / (os.cpu_count() or 1))


class Spent:
    """Seconds of the processor that a block took; 0 until it ends."""

    seconds = 0.0


@contextlib.contextmanager
def processor() -> Iterator[Spent]:
    """Measure what a block costs this thread alone.

    Other threads of the run do not count, nor does the search for garbage among thousands of tests' leftovers, which
    takes longer than many a block.
    """
    spent = Spent()
    gc.collect()
    gc.freeze()
    began = time.thread_time()
    try:
        yield spent
    finally:
        spent.seconds = time.thread_time() - began
        gc.unfreeze()
