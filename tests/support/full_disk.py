"""Run as a process in a mount namespace: an act on a small file system that is full, then with room, then judged."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import structlog

from broch_airlock.uploads import space
from support.crossing import Crossing
from support.fault_acts import STAGES, assert_nothing_half_visible, hurry, recover

SIZE = "8m"


def fill(folder: Path, room_kib: int) -> Path:
    """Leave only so much room."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        file.truncate(max(0, file.tell() - (room_kib << 10)))
    return filler


def main() -> None:
    """Try an act with each of the rooms, in KiB; print for each whether it met the full disk."""
    template, name, request, *rooms = sys.argv[1:]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    space.SPARE_BYTES = 0  # it would refuse long before the disk is full
    place = Path(tempfile.mkdtemp(prefix="broch-full-"))
    try:
        for room in rooms:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(place)], check=True)
            trial(Path(template), place, name, request, int(room))
            subprocess.run(["umount", str(place)], check=True)
    finally:
        place.rmdir()


def trial(template: Path, place: Path, name: str, request: str, room: int) -> None:
    """Try one."""
    folder = place / "broch"
    shutil.copytree(template, folder, symlinks=True)
    acks: list[str] = []
    here = Crossing(folder)
    filler = fill(place, room)
    met = "room"
    try:
        STAGES[name].act(here, request, acks.append)
        hurry(here)
    except Exception:  # noqa: BLE001 - SQLite, the blobs or the door says it, each in its words
        met = "full"
    here.close()
    assert_nothing_half_visible(folder)
    filler.unlink()
    recover(folder, STAGES[name], request, acks)
    sys.stdout.write(f"{met}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.umask(0o077)
    main()
