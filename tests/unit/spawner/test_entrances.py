"""Stays in shared workspaces: proved by a ticket once and by a cookie after, good for one workspace, ended at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from broch_spawner import headers
from broch_spawner.control import ControlPlaneError
from broch_spawner.entrances import (
    ABSENT_SECONDS,
    COOKIE,
    TICKET_SECONDS,
    UNKNOWN_SECONDS,
    Entrances,
    own_cookie,
)
from broch_spawner.login import shown_name

HERS, HIS = "w" + "h" * 25, "w" + "i" * 25
NEW = "w" + "n" * 25
PLACE, OTHER = "w" + "p" * 25, "w" + "o" * 25
KEY = b"k" * 32


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def entrances(clock: Clock) -> Entrances:
    made = Entrances(clock)
    made.admit(HERS, PLACE)
    made.admit(HIS, PLACE)
    return made


def cookie_of(entrances: Entrances, guest: str, place: str = PLACE) -> str:
    value = entrances.redeem(entrances.ticket(guest), place, KEY)
    assert value is not None
    return f"{COOKIE}={value}"


def test_a_ticket_is_good_once_for_a_minute_and_for_its_workspace(entrances: Entrances, clock: Clock) -> None:
    ticket = entrances.ticket(HERS)
    assert entrances.redeem(ticket, PLACE, KEY)
    assert entrances.redeem(ticket, PLACE, KEY) is None
    assert entrances.redeem(entrances.ticket(HERS), OTHER, KEY) is None
    assert entrances.redeem("", PLACE, KEY) is None
    late = entrances.ticket(HERS)
    clock.now += TICKET_SECONDS
    assert entrances.redeem(late, PLACE, KEY) is None
    gone = entrances.ticket(HERS)
    entrances.end(HERS)
    assert entrances.redeem(gone, PLACE, KEY) is None


def test_a_cookie_proves_one_stay_in_one_workspace_while_it_lasts(entrances: Entrances) -> None:
    hers, his = cookie_of(entrances, HERS), cookie_of(entrances, HIS)
    assert entrances.guest_of(f"a=b; {hers}; c=d", PLACE, KEY) == HERS
    assert entrances.guest_of(hers, OTHER, KEY) is None
    assert entrances.guest_of(hers, PLACE, b"x" * 32) is None
    entrances.end(HERS)
    assert entrances.guest_of(hers, PLACE, KEY) is None
    assert entrances.guest_of(his, PLACE, KEY) == HIS


@pytest.mark.parametrize(
    "bent",
    [
        "",
        COOKIE,
        f"{COOKIE}=",
        f"{COOKIE}={HERS}",
        f"{COOKIE}={HERS}.",
        f"{COOKIE}={HERS}.{'0' * 64}",
        f"{COOKIE}=.é",
    ],
)
def test_no_bent_cookie_proves_anything(entrances: Entrances, bent: str) -> None:
    assert entrances.guest_of(bent, PLACE, KEY) is None


def test_the_end_of_a_stay_cuts_what_it_holds_and_nothing_else(entrances: Entrances) -> None:
    cut: list[str] = []
    with (
        entrances.holding(HERS, lambda: cut.append("hers")),
        entrances.holding(HERS, lambda: cut.append("hers too")),
        entrances.holding(HIS, lambda: cut.append("his")),
        entrances.holding(None, lambda: cut.append("nobody's")),
    ):
        entrances.end(HERS)
        assert cut == ["hers", "hers too"]
        entrances.end(HERS)
    assert cut == ["hers", "hers too"]
    assert entrances.admitted() == {HIS: PLACE}


def test_who_has_nothing_open_for_long_is_told_of_again_and_again(entrances: Entrances, clock: Clock) -> None:
    with entrances.holding(HERS, lambda: None):
        clock.now += ABSENT_SECONDS - 1
        assert entrances.absent() == []
        clock.now += 1
        assert entrances.absent() == [HIS]
        assert entrances.absent() == []
        clock.now += 30
        assert entrances.absent() == [HIS]
    assert entrances.absent() == []
    clock.now += ABSENT_SECONDS
    assert entrances.absent() == [HERS, HIS]


def test_a_stay_that_the_control_plane_does_not_know_is_ended(entrances: Entrances) -> None:
    asked: list[list[str]] = []

    async def standing(guests: list[str]) -> set[str]:
        asked.append(guests)
        entrances.admit(NEW, PLACE)  # who comes while the question is on its way was not asked about
        return {HIS}

    cut: list[str] = []
    with (
        entrances.holding(HERS, lambda: cut.append("hers")),
        entrances.holding(HIS, lambda: cut.append("his")),
    ):
        asyncio.run(entrances.confirm(standing))
    assert asked == [[HERS, HIS]]
    assert cut == ["hers"]
    assert entrances.admitted() == {HIS: PLACE, NEW: PLACE}


def test_while_the_control_plane_is_away_everybody_stays_for_a_while_and_then_nobody(
    entrances: Entrances, clock: Clock
) -> None:
    """A right may end meanwhile, by its date or by an act of which the hub hears nothing; and the pod goes on."""

    async def away(_: list[str]) -> set[str]:
        raise ControlPlaneError("away")

    async def knows(guests: list[str]) -> set[str]:
        return {*guests}

    def look(answer: Callable[[list[str]], Awaitable[set[str]]]) -> None:
        with suppress(ControlPlaneError):
            asyncio.run(entrances.confirm(answer))
        entrances.end_unknown()

    cut: list[str] = []
    with entrances.holding(HERS, lambda: cut.append("hers")), entrances.holding(HIS, lambda: None):
        clock.now += UNKNOWN_SECONDS
        look(knows)
        clock.now += UNKNOWN_SECONDS - 1
        look(away)
        assert (entrances.admitted(), cut) == ({HERS: PLACE, HIS: PLACE}, [])
        cookie = cookie_of(entrances, HERS)
        clock.now += 1
        look(away)
    assert (entrances.admitted(), cut) == ({}, ["hers"])
    assert entrances.guest_of(cookie, PLACE, KEY) is None
    # Until the control plane took the word it is kept; who came in again meanwhile has not left.
    entrances.admit(HIS, PLACE)
    for _ in range(2):
        assert entrances.absent() == [HERS]
    entrances.told(HERS)
    assert entrances.absent() == []


def test_the_server_behind_neither_sees_nor_sets_the_proof() -> None:
    sent = "__Host-w-_xsrf=1; __Host-broch-entry=secret; __Host-jupyterhub-user=2"
    assert headers.cookies_to_upstream(sent) == "_xsrf=1; __Host-jupyterhub-user=2"
    received = [("Set-Cookie", "__Host-broch-entry=x; Path=/"), ("Set-Cookie", "mine=1; Path=/")]
    shown = headers.from_workspace(
        received, host="w.hub.test", shell="https://tre.test", hub="https://hub.test"
    )
    assert shown is not None
    assert [value for name, value in shown if name == "Set-Cookie"] == ["__Host-w-mine=1; Path=/; Secure"]


def test_the_cookie_is_of_its_host_alone_and_for_no_script() -> None:
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(own_cookie("v").split("; "))
    assert own_cookie("v").startswith("__Host-")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Ada Lindqvist", "Ada Lindqvist"),
        ("  Zoë <b>X</b> ", "Zoë <b>X</b>"),
        ("a\u202eb\nc\x00", "a\ufffdb\ufffdc\ufffd"),
        ("x" * 500, "x" * 120),
        ("", None),
        (None, None),
        (" ", None),
    ],
)
def test_a_name_is_one_line_without_anything_hidden(given: object, shown: str | None) -> None:
    assert shown_name(given) == shown
