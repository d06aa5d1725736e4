"""Numbers of bytes for people."""

from __future__ import annotations

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def binary_size(count: int) -> str:
    """Return a number of bytes in binary units (IEC 80000-13), with one decimal.

    What rounds to 1024 of a unit is one of the next: 1,048,575 bytes are 1.0 MiB, never 1024.0 KiB. The scripts of
    pages count in the same way (`broch.size` in app.js).
    """
    if count < 1024:
        return f"{count} B"
    amount = float(count)
    for unit in _UNITS:
        amount /= 1024
        if round(amount, 1) < 1024 or unit == _UNITS[-1]:
            return f"{amount:.1f} {unit}"
    raise AssertionError
