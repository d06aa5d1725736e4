"""What Broch does by itself as time passes is recorded too, or not done: deadlines, retention, damaged data, stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest
from sqlmodel import select

from broch_airlock.tables import AirlockRequest
from broch_core import clock
from broch_core.audit.tables import AuditRecord
from broch_core.lifecycles import AirlockStatus
from broch_core.store.unit import Store
from support.failing_audit import AuditUnwritable, audit_failing
from support.surface import Surface

HOUSEKEEPING = {"outbox", "airlock_upload"}
"""Attempts of work that stays to be done, and uploads that nobody finished: no change of state."""
WHEN = {"an hour on": timedelta(hours=2), "years on": timedelta(days=800)}
EXPECTED = {
    "an hour on": {"airlock:checked", "version:suspended", "workspace:stop"},
    "years on": {
        "airlock:checked",
        "airlock:delete",
        "airlock:retention",
        "version:suspended",
        "workspace:stop",
    },
}
"""What must be told when it can be: checks past their deadline, data that changed, rights that ended, retention."""


@contextmanager
def later(by: timedelta) -> Iterator[None]:
    """Live so much later."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz or UTC) + by

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "datetime", Later)
        yield


def upkeep(surface: Surface) -> list[Callable[[], object]]:
    """Return all that runs without being asked."""
    instance = surface.instance
    clocks = (*instance._clockwork._calls, *instance._reading._calls)
    return [*clocks, instance._outbox.run_due, instance._reconciler.round]


def damage(surface: Surface) -> None:
    """Change one byte of every dataset version."""
    for folder in (surface.folder / "datasets").iterdir():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.stat().st_size:
                path.chmod(0o600)
                data = bytearray(path.read_bytes())
                data[0] ^= 1
                path.write_bytes(data)
                break


def press(surface: Surface) -> None:
    """Give everything that has a deadline one, now, and damage the data."""
    damage(surface)
    with surface.service(Store).write(housekeeping=True) as change:
        for request in change.session.exec(select(AirlockRequest)):
            if request.status in {AirlockStatus.SUBMITTED, AirlockStatus.CHECKING}:
                request.check_deadline = clock.utc_now()
                change.session.add(request)


def go_round(surface: Surface) -> None:
    """Do it all, twice: what the first round puts into the outbox the second works on."""
    for call in upkeep(surface) * 2:
        with suppress(AuditUnwritable):
            call()


def actions(surface: Surface) -> list[str]:
    """Return what the log tells was done, in order."""
    with surface.service(Store).read() as session:
        return list(session.exec(select(AuditRecord.action).order_by(AuditRecord.id)))


def state(surface: Surface) -> tuple[dict[str, str], list[tuple[str, int]]]:
    """Hash every table but housekeeping, and list every file."""
    tables = {name: now for name, now in surface.digest().items() if name not in HOUSEKEEPING}
    return tables, [file for file in surface.bytes_kept() if not file[0].startswith("blobs/uploads/")]


@pytest.mark.parametrize("when", WHEN)
def test_where_no_record_can_be_written_nothing_happens_by_itself(surface: Surface, when: str) -> None:
    press(surface)
    before = state(surface)
    with later(WHEN[when]), audit_failing(surface.service(Store).engine, every=True) as writes:
        go_round(surface)
    assert writes.count, "somebody wanted to do something"
    after = state(surface)
    assert {name for name in after[0] if after[0][name] != before[0][name]} == set()
    assert set(before[1]) <= set(after[1]), "no byte goes"
    # A second name of the same bytes may be made before the change that needs it; it shows nobody anything.
    digests = {name.rpartition("/")[2] for name, _ in before[1]}
    assert {name.rpartition("/")[2] for name, _ in set(after[1]) - set(before[1])} <= digests


@pytest.mark.parametrize("when", WHEN)
def test_with_a_log_it_happens_and_is_told(surface: Surface, when: str) -> None:
    press(surface)
    told = len(actions(surface))
    with later(WHEN[when]):
        go_round(surface)
    assert set(actions(surface)[told:]) >= EXPECTED[when]
