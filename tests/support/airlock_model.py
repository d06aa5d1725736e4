"""A model of what may leave, beside the real services of the airlock on SQLite, for random orders of events."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlmodel import delete, update

from broch_airlock.checks.model import Verdict
from broch_airlock.tables import Direction, Opinion
from broch_core import faults
from broch_core.blobs import BlobClass
from broch_core.clock import utc_now
from broch_core.errors import Denied, DomainError
from broch_core.lifecycles import AirlockStatus as Status
from broch_core.outbox.tables import OutboxEntry
from broch_core.proof import RecallList, verify_receipt
from support.crossing import Crossing, sha256

STEPS = 5
EACH = 5
"""Requests of each kind in a world."""
REVIEWERS = ("rita", "ravi", "rosa")
NAMES = ("a.csv", "b.csv")
BYTES = (b"one\n", b"two\n", b"three\n")
OPINIONS = (Opinion.APPROVE,) * 5 + (Opinion.CHANGES_REQUESTED, Opinion.REJECT)
VERDICTS = (Verdict.CLEAN, Verdict.CLEAN, Verdict.BLOCKED, Verdict.FLAGGED)
Kind = tuple[Direction, Status, int]
"""Direction, state and number of files at the beginning. What else differs must not be seen by a replay."""
KINDS: tuple[Kind, ...] = tuple(
    (direction, stage, files)
    for direction in Direction
    for stage in (Status.DRAFT, Status.IN_REVIEW, Status.APPROVED, Status.RELEASED)
    for files in (1, 2)
)
_STARTS = tuple(kind for kind in KINDS for _ in range({Status.DRAFT: 1, Status.RELEASED: 1}.get(kind[1], 3)))
_ENDED = frozenset({Status.WITHDRAWN, Status.REJECTED, Status.QUARANTINED, Status.RECALLED})


class PowerCut(Exception):
    """Struck at a named point."""


@dataclass
class Model:
    """What somebody who only watched from outside knows of a request."""

    id: str
    direction: Direction
    bytes: dict[str, bytes] = field(default_factory=dict)
    """What the author sent last, while files could change."""
    approved: dict[tuple[str, str], str] = field(default_factory=dict)
    """(reviewer, file) -> digest that they approved, unless they said otherwise since."""
    tampered: bool = False
    """The bytes in the store are other ones now."""

    def agreed(self) -> bool:
        """Tell whether two reviewers approve the present bytes of every file."""
        return bool(self.bytes) and all(
            sum(self.approved.get((who, name)) == sha256(data) for who in REVIEWERS) > 1
            for name, data in self.bytes.items()
        )


seen: Counter[str] = Counter()
"""What happened over all examples: were nothing ever released, the invariants would hold for nothing."""


class Worlds:
    """Copies of one folder with requests on every stage: most of an example's time goes where it matters."""

    def __init__(self) -> None:
        self.folder = Path()
        self.prepared: dict[Kind, list[Model]] = {}
        self.left: dict[Kind, list[Model]] = {}
        self.here: Crossing | None = None

    def prepare(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="broch-model-"))
        here = Crossing(self.folder / "0")
        for kind in KINDS:
            self.prepared[kind] = [self._made(here, *kind) for _ in range(EACH)]
        here.close()

    def _made(self, here: Crossing, direction: Direction, stage: Status, files: int) -> Model:
        model = Model(here.draft(direction), direction)
        for name, data in zip(NAMES[:files], BYTES, strict=False):
            model.bytes[model.id + name] = model.id.encode() + data
            here.put(model.id, model.id + name, model.id.encode() + data)
        if stage is not Status.DRAFT:
            here.submit(model.id)
            here.work()
        if stage in {Status.APPROVED, Status.RELEASED}:
            for who in REVIEWERS[:2]:
                here.decide(who, model.id, Opinion.APPROVE)
                model.approved |= {(who, name): sha256(data) for name, data in model.bytes.items()}
            if stage is Status.RELEASED:
                here.work()
            with here.store.write(housekeeping=True) as change:  # each example releases its own
                change.session.exec(delete(OutboxEntry))
        assert here.request(model.id).status is stage
        return model

    def take(self, kind: Kind) -> tuple[Crossing, Model]:
        """Return a request that nobody has touched."""
        if not self.prepared:
            self.prepare()
        if self.here is None or not self.left[kind]:
            self.close()
            folder = self.folder / "copy"
            shutil.copytree(self.folder / "0", folder)
            self.here = Crossing(folder)
            self.left = {kind: [*models] for kind, models in self.prepared.items()}
        return self.here, deepcopy(self.left[kind].pop())

    def close(self) -> None:
        if self.here is not None:
            self.here.close()
            shutil.rmtree(self.here.settings.folder)
            self.here = None


worlds = Worlds()


class Airlock(RuleBasedStateMachine):
    """One author, three reviewers, an admin, a disk that lies and power that fails, in any order."""

    here: Crossing
    model: Model
    status: Status

    @initialize(kind=st.sampled_from(_STARTS))
    def begin(self, kind: Kind) -> None:
        self.here, self.model = worlds.take(kind)
        self.status = kind[1]

    def _in(self, *states: Status) -> bool:
        return self.status in states

    def _try(self, call: Callable[[], object]) -> bool:
        """Do something that may be refused in words; every other error is a defect."""
        try:
            call()
        except DomainError:
            return False
        finally:
            self._look()
        return True

    def _put(self, name: str, data: bytes) -> None:
        name, data = self.model.id + name, self.model.id.encode() + data
        if self._try(lambda: self.here.put(self.model.id, name, data)):
            self.model.bytes[name] = data

    @precondition(lambda self: self._in(Status.DRAFT, Status.RETURNED))
    @rule(name=st.sampled_from(NAMES), data=st.sampled_from(BYTES))
    def change(self, name: str, data: bytes) -> None:
        self._put(name, data)

    @precondition(lambda self: self._in(Status.DRAFT, Status.RETURNED))
    @rule()
    def submit(self) -> None:
        self._try(lambda: self.here.submit(self.model.id))

    @precondition(lambda self: self._in(Status.SUBMITTED, Status.CHECKING))
    @rule(verdict=st.sampled_from(VERDICTS))
    def check(self, verdict: Verdict) -> None:
        self.here.scan.verdict = verdict
        self._work()

    @precondition(lambda self: self._in(Status.IN_REVIEW))
    @rule(who=st.sampled_from(REVIEWERS), opinion=st.sampled_from(OPINIONS))
    def decide(self, who: str, opinion: Opinion) -> None:
        self._decide(who, opinion, tuple(self.model.bytes))

    @precondition(lambda self: self._in(Status.IN_REVIEW))
    @rule(who=st.sampled_from(REVIEWERS), opinion=st.sampled_from(OPINIONS), name=st.sampled_from(NAMES))
    def decide_on_one(self, who: str, opinion: Opinion, name: str) -> None:
        self._decide(who, opinion, (self.model.id + name,))

    @precondition(lambda self: self._in(Status.IN_REVIEW))
    @rule(opinions=st.tuples(st.sampled_from(OPINIONS), st.sampled_from(OPINIONS)))
    def decide_together(self, opinions: tuple[Opinion, Opinion]) -> None:
        for who, opinion in zip(REVIEWERS, opinions, strict=False):
            self._decide(who, opinion, tuple(self.model.bytes))

    def _decide(self, who: str, opinion: Opinion, names: tuple[str, ...]) -> None:
        for name in names:
            if name not in self.model.bytes:
                continue
            if self._try(lambda name=name: self.here.decide(who, self.model.id, opinion, (name,))):  # type: ignore[misc]
                digest = sha256(self.model.bytes[name]) if opinion is Opinion.APPROVE else ""
                self.model.approved[who, name] = digest

    @precondition(lambda self: self._in(Status.IN_REVIEW))
    @rule(who=st.sampled_from(("ruth", "robin")))
    def decide_as_a_member(self, who: str) -> None:
        with pytest.raises(Denied):
            self.here.decide(who, self.model.id, Opinion.APPROVE)

    @precondition(lambda self: self._in(Status.APPROVED, Status.RELEASING))
    @rule(after=st.sampled_from((0, *range(17))))
    def release(self, after: int) -> None:
        """Release, or be cut off on the way; `after` points passed."""
        left = after

        def strike(name: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise PowerCut(name)

        faults.arm(strike)
        try:
            with suppress(PowerCut):
                self.here.releaser.release({"request_id": self.model.id})
        finally:
            faults.arm(None)
        self._look()
        self._judge_release()

    @precondition(lambda self: self._in(Status.APPROVED, Status.RELEASING))
    @rule()
    def release_whole(self) -> None:
        self._work()

    @precondition(lambda self: self._in(Status.APPROVED, Status.RELEASING) and not self.model.tampered)
    @rule()
    def tamper(self) -> None:
        """Put other bytes into the store where the approved ones lie."""
        name, data = min(self.model.bytes.items())
        path = self.here.blobs.path(self.here.world.project.id, BlobClass.HELD, sha256(data))
        if path.exists() and not self.here.releases(self.model.id):
            path.unlink()
            path.write_bytes(b"forged " + name.encode())
            self.model.tampered = True

    @precondition(lambda self: self._in(Status.FAILED))
    @rule(mend=st.booleans())
    def retry(self, *, mend: bool) -> None:
        if mend:
            self._mend()
        actor = self.here.actor("ada")
        self._try(lambda: self.here.overseer.retry(actor, self.model.id))
        self._work()

    def _mend(self) -> None:
        if self.model.tampered:
            data = min(self.model.bytes.items())[1]
            path = self.here.blobs.path(self.here.world.project.id, BlobClass.HELD, sha256(data))
            path.unlink(missing_ok=True)
            path.write_bytes(data)
            self.model.tampered = False

    @precondition(lambda self: self._in(Status.RETURNED, Status.APPROVED))
    @rule()
    def withdraw(self) -> None:
        actor = self.here.actor("ruth")
        self._try(lambda: self.here.desk.withdraw(actor, self.model.id))

    @precondition(lambda self: self._in(Status.APPROVED, Status.RELEASING, Status.RELEASED, Status.RECALLED))
    @rule()
    def download(self) -> None:
        got: dict[str, bytes] = {}
        done = self._try(lambda: got.update(self.here.download(self.model.id)))
        out = self.status is Status.RELEASED and self.model.direction is Direction.EGRESS
        assert done == out
        if got:
            assert got == self.model.bytes
            seen["downloaded"] += 1

    @precondition(lambda self: self._in(Status.RELEASED))
    @rule()
    def recall(self) -> None:
        assert self._try(lambda: self.here.recall(self.model.id))
        self._work()
        self._judge_release()

    @rule(what=st.sampled_from(("submit", "recall", "retry", "withdraw released", "change")))
    def out_of_turn(self, what: str) -> None:
        """Ask for what does not fit the state; what is refused changes nothing."""
        before = self.status
        here, id_, ada = self.here, self.model.id, self.here.actor("ada")
        fits: dict[str, tuple[set[Status], Callable[[], object]]] = {
            "submit": ({Status.DRAFT, Status.RETURNED}, lambda: here.submit(id_)),
            "recall": ({Status.RELEASED}, lambda: here.recall(id_)),
            "retry": ({Status.FAILED}, lambda: here.overseer.retry(ada, id_)),
            "withdraw released": (
                set(Status) - {Status.RELEASED, Status.RELEASING, Status.FAILED, *_ENDED},
                lambda: here.desk.withdraw(here.actor("ruth"), id_),
            ),
            "change": (
                {Status.DRAFT, Status.RETURNED},
                lambda: here.put(id_, id_ + NAMES[0], b"out of turn"),
            ),
        }
        states, call = fits[what]
        if before not in states:
            with pytest.raises(DomainError):
                call()
            assert self.here.request(id_).status is before

    def _work(self) -> None:
        """Let the outbox do everything that waits, without its pauses."""
        with self.here.store.write(housekeeping=True) as change:
            change.session.exec(update(OutboxEntry).values(due_at=utc_now()))
        self.here.work()
        self._look()
        self._judge_release()

    def _look(self) -> None:
        before, self.status = self.status, self.here.request(self.model.id).status
        seen[self.status.value] += self.status is not before
        if before in _ENDED:
            assert self.status is before

    def _judge_release(self) -> None:
        """The claim itself."""
        releases = self.here.releases(self.model.id)
        status = self.status
        seen["judged"] += 1
        if not releases:
            assert status not in {Status.RELEASED, Status.RECALLED}
            return
        [(release, files)] = releases  # once
        assert self.model.agreed()
        assert not self.model.tampered
        assert files == {name: sha256(data) for name, data in self.model.bytes.items()}
        imports = self.here.zones.imports(release.project_id)
        for name, data in self.model.bytes.items():
            if status is Status.RELEASED:
                path = self.here.blobs.path(release.project_id, BlobClass.RELEASED, sha256(data))
                assert path.read_bytes() == data
            if self.model.direction is Direction.INGRESS:
                there = (imports / name).read_bytes() if (imports / name).exists() else None
                if status in {Status.RELEASED, Status.RECALLED}:
                    assert there == (data if status is Status.RELEASED else None)
            else:
                assert not (imports / name).exists()
        if status is Status.RELEASED:
            seen["proved"] += 1
            trust = self.here.world.keys.trust()
            assert verify_receipt((release.receipt or "").encode(), files, trust).ok
        if status is Status.RECALLED:
            listed = RecallList.parse(self.here.overseer.recalls().encode(), self.here.world.keys.trust())
            assert release.id in listed.recalls

    def teardown(self) -> None:
        faults.arm(None)


def explore(examples: int, seed_: int) -> Counter[str]:
    """Try so many orders of events; return what happened in them. Raises what a failing example raises."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        run_state_machine_as_test(
            seed(seed_)(Airlock),
            settings=settings(
                max_examples=examples,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        worlds.close()
        if worlds.prepared:
            shutil.rmtree(worlds.folder)
    return seen
