"""Read leases (fcntl(2), F_SETLEASE): the kernel's word that nobody writes to a file while it is hashed and scanned."""

from __future__ import annotations

import contextlib
import fcntl
import signal
from typing import Self


class Lease:
    """A read lease on an open file; while it is kept, no byte of the file can change.

    The kernel grants it only when nobody has the file open for writing, or mapped so, and takes it back as soon as
    somebody opens it for writing or truncates it. Links and removals of names do not matter to it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, descriptor: int) -> Self | None:
        """Take a lease; None when somebody is writing, the file is not ours, or its file system has no leases."""
        try:
            # Who breaks a lease has a signal sent to us. The usual SIGIO would end this process; SIGURG does nothing.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError:
            return None
        return cls(descriptor)

    def kept(self) -> bool:
        """Say whether it has been kept without a break until now; False for good once somebody wanted to write."""
        try:
            return fcntl.fcntl(self._descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK
        except OSError:
            return False

    def release(self) -> None:
        """Give it back: whoever waits to write need not wait any more."""
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
