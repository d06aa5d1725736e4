"""Two histories that differ only in what reviewer 1 did are the same, byte by byte, for reviewer 2 and the author.

On every route that there is, for every reader, with every header, ETag among them; also what is answered to those who
try to change something. Clock, ids and random tokens are pinned, so nothing has to be masked. Broch sends no mail; what
code in the author's workspace is told through the airlock door is compared too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest

from broch_airlock.release.overseer import ReleaseOverseer
from broch_airlock.release.service import Releaser
from broch_airlock.requests.schemas import NewComment
from broch_airlock.requests.service import RequestDesk
from broch_airlock.review.schemas import ViewTicketNew
from broch_airlock.review.service import ReviewDesk
from broch_airlock.shelves import Shelves
from broch_airlock.tables import AirlockRequest
from broch_airlock.viewer.service import ViewDesk
from broch_core.audit.denials import DenialLog
from broch_core.blobs import FolderBlobs
from broch_core.web.routing import Kind, NamedRoute
from support.pinned import Pinned, pinned
from support.reviews import ReviewWorld
from support.surface import Surface, visitor_of
from support.surface_calls import Thing, call, recipe_of, states_of
from support.surface_matrix import READS_THAT_WRITE, sorted_routes

READERS = ("author", "second", "member", "door")
OWN_AXES = frozenset({"request", "release", "ingress"})
"""Recipes on these are called on the request in question."""
Answers = dict[tuple[str, str, str], tuple[int, tuple[tuple[str, str], ...], bytes]]
History = Callable[["Scene"], object]


class Scene:
    """A request in review with two files, and everybody around it."""

    def __init__(self, surface: Surface, pin: Pinned) -> None:
        self.surface, self.pin = surface, pin
        self.place = cast("ReviewWorld", object.__new__(ReviewWorld))
        self.place.__dict__.update(
            world=surface.world,
            store=surface.world.store,
            blobs=surface.service(FolderBlobs),
            shelves=surface.service(Shelves),
            services=surface.instance.services,
            desk=surface.service(ReviewDesk),
            releaser=surface.service(Releaser),
            overseer=surface.service(ReleaseOverseer),
        )
        self.request: AirlockRequest = self.place.in_review({"a.csv": b"1\n", "b.csv": b"2\n"})
        surface.visitors["second"] = visitor_of(surface, "second", "ravi")
        surface.keep()
        self.start = pin.now()
        self.later = self.start + timedelta(seconds=30)
        self._baseline = surface._snapshot

    def again(self, *histories: History) -> None:
        """Go back to the beginning, and let these happen."""
        self.surface._snapshot = self._baseline
        self.surface.put_back()
        self.pin.set(self.start)
        self.surface.service(DenialLog)._seen.clear()  # it remembers whom it has told of
        for history in histories:
            history(self)
        self.surface.world.audit_log.sequence()  # as within a second
        self.surface.keep()

    def thing(self, route: NamedRoute) -> Thing | None:
        """Return what a route is called on: the request in question, where it is about one."""
        recipe = recipe_of(route)
        assert recipe is not None
        files = self.place.files(self.request)
        if recipe.axis in OWN_AXES:
            file = files[0]
            turn = self.place.request(self.request.id).turn
            mine = {"request_id": self.request.id, "file_id": file.id, "sha256": file.sha256, "turn": turn}
            return {**mine, "project_id": self.request.project_id}
        return next(iter(states_of(self.surface, route, recipe).values()))

    def seen(self, readers: tuple[str, ...] = READERS) -> Answers:
        """Ask every route as each reader; whatever one changed is put back."""
        found: Answers = {}
        for route in sorted_routes():
            recipe, thing = recipe_of(route), self.thing(route)
            assert recipe is not None
            assert thing is not None
            for who in readers:
                if not self._asks(route, who, recipe.axis):
                    continue
                self.pin.set(self.later + timedelta(milliseconds=10 * len(found)))
                answer = call(self.surface, route, recipe, self.surface.visitors[who], thing)
                found[route.method, route.path, who] = (answer.status, tuple(answer.headers), answer.body)
                if answer.status < 400 and (route.method != "GET" or route.path in READS_THAT_WRITE):
                    self.surface.put_back()
        return found

    @staticmethod
    def _asks(route: NamedRoute, who: str, axis: str) -> bool:
        """Whether a reader asks a route: what reads, all of it; what writes, where it is about the request."""
        if route.kind is Kind.SERVICE:
            return who == "door" and route.path.startswith("/door")
        about = axis in OWN_AXES
        reads = route.method == "GET" and route.path not in READS_THAT_WRITE
        return (
            (about or reads)
            if who in {"author", "second", "reviewer"}
            else who == "member" and about and reads
        )

    # what reviewer 1 and reviewer 2 may do

    def decide(self, handle: str, opinion: str, *names: str) -> None:
        self.place.decide(handle, self.request, opinion, *names)

    def comment(self) -> None:
        actor = self.place.world.actor("rita")
        self.surface.service(RequestDesk).comment(actor, self.request.id, NewComment(text="Secret doubt."))

    def look(self) -> None:
        visitor = self.surface.visitors["reviewer"]
        actor: Any = self.surface.world.sessions.actor(visitor.bearer or "")
        file = self.place.files(self.request)[0]
        body = ViewTicketNew(sha256=file.sha256, turn=1)
        self.surface.service(ViewDesk).ticket(actor, self.request.id, file.id, body)


HISTORIES: dict[str, tuple[History, ...]] = {
    "looks and comments": (Scene.look, Scene.comment),
    "one file": (lambda scene: scene.decide("rita", "approve", "a.csv"),),
    "all approved": (lambda scene: scene.decide("rita", "approve"),),
    "all rejected": (lambda scene: scene.decide("rita", "reject"),),
    "changes wanted, then revised": (
        lambda scene: scene.decide("rita", "changes_requested"),
        lambda scene: scene.decide("rita", "approve"),
        lambda scene: scene.decide("rita", "reject", "b.csv"),
    ),
}
"""What only reviewer 1 does."""
SECOND: dict[str, tuple[tuple[History, ...], tuple[str, ...]]] = {
    "reviewer 2 has not begun": ((), tuple(HISTORIES)),
    "reviewer 2 has decided on one file": (
        (lambda scene: scene.decide("ravi", "approve", "a.csv"),),
        ("one file", "changes wanted, then revised"),
    ),
}
"""What reviewer 2 did before, and the histories of reviewer 1 that are tried then."""


@pytest.fixture(scope="module")
def scene(surface_once: Surface) -> Iterator[Scene]:
    surface_once.put_back()
    with pinned() as pin:
        scene = Scene(surface_once, pin)
        yield scene
        scene.again()


def differing(one: Answers, other: Answers) -> list[tuple[str, str, str]]:
    assert one.keys() == other.keys()
    return [key for key in one if one[key] != other[key]]


@pytest.mark.parametrize("second", SECOND)
def test_what_reviewer_1_does_changes_no_byte_for_anybody_else(scene: Scene, second: str) -> None:
    before, names = SECOND[second]
    scene.again(*before)
    plain = scene.seen()
    assert len(plain) > 150
    for name in names:
        scene.again(*before, *HISTORIES[name])
        assert differing(plain, scene.seen()) == [], name


def test_once_both_are_in_the_histories_differ(scene: Scene) -> None:
    """The positive control: the comparison sees what there is to see."""
    both = (lambda scene: scene.decide("ravi", "approve"),)
    answers = []
    for opinion in ("approve", "reject"):
        scene.again(lambda scene, opinion=opinion: scene.decide("rita", opinion), *both)  # type: ignore[misc]
        answers.append(scene.seen(("author", "second")))
    apart = {(path, who) for _, path, who in differing(*answers)}
    for who in ("author", "second"):
        assert ("/airlock/requests/{request_id}", who) in apart
        assert ("/api/v1/airlock/requests/{request_id}", who) in apart


def test_reviewer_1_sees_their_own_work(scene: Scene) -> None:
    scene.again()
    before = scene.seen(("reviewer",))
    scene.again(*HISTORIES["one file"])
    assert ("GET", "/api/v1/airlock/queue", "reviewer") in differing(before, scene.seen(("reviewer",)))
