"""All that a running Broch keeps, as two moments are compared by it."""

import contextlib
import hashlib
import sqlite3

from integration.up.up_acts import until


def at_rest(bad):
    """Return digests of all tables, and every file of bytes, once nothing is under way any more.

    Two equal looks alone do not show that: a server that waits for the processor is as still as one that is done.
    """
    seen = []

    def quiet():
        # asked before the second look: a number that came between the looks makes them differ
        done = numbered(bad) and not under_way(bad)
        seen.append(everything(bad))
        return done and len(seen) > 1 and seen[-1] == seen[-2]

    until(quiet, 30, "it does not come to rest")
    return seen[-1]


def opened(bad):
    return contextlib.closing(sqlite3.connect(f"file:{bad.folder / 'broch.sqlite'}?mode=ro", uri=True))


def numbered(bad):
    """Tell whether the sequencer has nothing left to do."""
    with opened(bad) as database:
        (left,) = database.execute("SELECT count(*) FROM audit_record WHERE seq IS NULL").fetchone()
    return left == 0


def under_way(bad):
    """Tell whether bytes of a body lie there still, or an effect of a change is yet to come."""
    with opened(bad) as database:
        (left,) = database.execute(
            "SELECT count(*) FROM outbox WHERE done_at IS NULL AND stuck_at IS NULL"
        ).fetchone()
    return left > 0 or any((bad.folder / "blobs" / "tmp").iterdir())


def everything(bad):
    """Return digests of all tables, and every file of bytes, but for what Broch writes by itself now and then."""
    found = {}
    with opened(bad) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if name in {"audit_node", "audit_checkpoint"}:
                continue  # the tree grows with refusals too
            # refusals of known actors are records themselves, numbered by and by; the schedule reads versions again
            where = (
                " WHERE outcome <> 'denied' AND action <> 'version:verified'"
                if name == "audit_record"
                else ""
            )
            columns = [row[1] for row in database.execute(f'PRAGMA table_info("{name}")')]
            shown = ", ".join(f'"{column}"' for column in columns if column != "verified_at")
            rows = sorted(map(repr, database.execute(f'SELECT {shown} FROM "{name}"{where}')))
            found[name] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    for folder in ("blobs", "datasets", "zones"):
        for path in (bad.folder / folder).rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    found[str(path)] = path.stat().st_size
    return found
