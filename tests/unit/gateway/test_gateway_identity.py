"""Whose token it is: a TokenReview's answer read with suspicion, remembered for seconds."""

import asyncio
import copy

import pytest

from broch_core.errors import Denied, Unauthenticated, Unavailable
from broch_workspaces.gateway.calls import Account
from broch_workspaces.gateway.identity import NotOurs, Pod, pod_of
from broch_workspaces.gateway.reviews import Addresses, Reviews
from broch_workspaces.slots import Full, Slots

ZONE = "zone-" + "0" * 26
UID = "01234567-89ab-cdef-0123-456789abcdef"
GOOD = {
    "authenticated": True,
    "audiences": ["broch-gateway"],
    "user": {
        "username": f"system:serviceaccount:{ZONE}:workspace",
        "groups": ["system:serviceaccounts", f"system:serviceaccounts:{ZONE}", "system:authenticated"],
        "extra": {
            "authentication.kubernetes.io/pod-name": ["ws-1"],
            "authentication.kubernetes.io/pod-uid": [UID],
        },
    },
}
TOKEN = "a.b.c"


def changed(*path, to):
    status = copy.deepcopy(GOOD)
    inner = status
    for key in path[:-1]:
        inner = inner[key]
    if to is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return status


def test_a_bound_token_of_a_zone_names_its_pod():
    assert pod_of(GOOD) == Pod(ZONE, "ws-1", UID, Account.WORKSPACE)
    importer = changed("user", "username", to=f"system:serviceaccount:{ZONE}:importer")
    assert pod_of(importer).account is Account.IMPORTER


POD = ("user", "extra", "authentication.kubernetes.io/pod-name")
UID_AT = ("user", "extra", "authentication.kubernetes.io/pod-uid")


@pytest.mark.parametrize(
    "status",
    [
        {},
        changed("authenticated", to=False),
        changed("authenticated", to="true"),
        changed("authenticated", to=None),
        changed("error", to="expired"),
        changed("audiences", to=None),
        changed("audiences", to=[]),
        changed("audiences", to=["https://kubernetes.default.svc"]),
        changed("audiences", to=["broch-gateway", "https://kubernetes.default.svc"]),
        changed("user", to=None),
        changed("user", "username", to="system:admin"),
        changed("user", "username", to="system:serviceaccount:default:workspace"),
        changed("user", "username", to=f"system:serviceaccount:{ZONE}x:workspace"),
        changed("user", "username", to=f"system:serviceaccount:{ZONE}:default"),
        changed("user", "username", to=f"system:serviceaccount:{ZONE}:workspace\n"),
        changed("user", "username", to=f"system:serviceaccount:{ZONE.upper()}:workspace"),
        changed("user", "groups", to=["system:authenticated"]),
        changed("user", "groups", to=None),
        changed("user", "extra", to=None),
        changed(*POD, to=None),
        changed(*POD, to=[]),
        changed(*POD, to=["ws-1", "ws-2"]),
        changed(*POD, to=["../ws-1"]),
        changed(*POD, to=["ws-1\r\nx: y"]),
        changed(*UID_AT, to=None),
        changed(*UID_AT, to=[UID, UID]),
        changed(*UID_AT, to=["1"]),
    ],
)
def test_anything_else_is_nobody(status):
    with pytest.raises(NotOurs):
        pod_of(status)


class Told:
    """Answers what it was told, and counts how often it was asked."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def review(self, _token):
        self.asked += 1
        await asyncio.sleep(0)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def reviews(judge, *, clock=lambda: 0.0):
    return Reviews(judge, 10.0, lambda _: None, clock)


def test_an_answer_is_remembered_ten_seconds_and_no_longer():
    now = [100.0]
    judge = Told(GOOD)
    asked = reviews(judge, clock=lambda: now[0])

    async def times():
        for _ in range(3):
            await asked.pod(TOKEN)
        now[0] += 9.9
        await asked.pod(TOKEN)
        assert judge.asked == 1
        now[0] += 0.2
        judge.answers = [changed("authenticated", to=False)]
        with pytest.raises(Unauthenticated):
            await asked.pod(TOKEN)
        assert judge.asked == 2

    asyncio.run(times())


def test_many_who_ask_at_once_are_one_question():
    judge = Told(GOOD)

    async def all_at_once():
        asked = reviews(judge)
        return await asyncio.gather(*(asked.pod(TOKEN) for _ in range(20)))

    assert len(set(asyncio.run(all_at_once()))) == 1
    assert judge.asked == 1


def test_who_goes_away_takes_the_answer_from_nobody():
    async def one_leaves():
        asked = reviews(Told(GOOD))
        first, second = (asyncio.create_task(asked.pod(TOKEN)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(one_leaves()).name == "ws-1"


def test_an_api_server_that_is_away_is_no_answer_and_is_asked_again():
    judge = Told(Unavailable("away"), GOOD)

    async def twice():
        asked = reviews(judge)
        with pytest.raises(Unavailable):
            await asked.pod(TOKEN)
        return await asked.pod(TOKEN)

    assert asyncio.run(twice()).namespace == ZONE


def test_what_is_no_token_is_not_even_asked_about():
    judge = Told(GOOD)
    for text in ("", "x", "a.b", "a.b.c.d", "a.b.c\n", "a." + "b" * 5000 + ".c", "é.b.c"):
        with pytest.raises(Unauthenticated):
            asyncio.run(reviews(judge).pod(text))
    assert judge.asked == 0


def test_the_token_is_kept_nowhere():
    async def once():
        asked = reviews(Told(GOOD))
        await asked.pod("secret.secret.secret")
        return asked

    assert "secret" not in repr(vars(asyncio.run(once())))


def test_a_pod_is_held_to_its_first_address_of_each_family():
    addresses = Addresses()
    pod = pod_of(GOOD)
    for address in ("10.0.0.1", "fd00::1", "10.0.0.1", "fd00::1"):
        addresses.check(pod, address)
    for address in ("10.0.0.2", "fd00::2"):
        with pytest.raises(Denied):
            addresses.check(pod, address)
    addresses.check(Pod(ZONE, "ws-2", UID.replace("0", "1"), Account.WORKSPACE), "10.0.0.2")


def test_places_are_bounded_by_key_and_in_all_and_given_back():
    slots = Slots(2)
    with slots.hold(), slots.hold_for({"pod:a": 1, "zone:z": 2}):
        with pytest.raises(Full, match="pod"), slots.hold_for({"zone:z": 2, "pod:a": 1}):
            pass
        with slots.hold_for({"pod:b": 1, "zone:z": 2}):
            with pytest.raises(Full, match="zone"), slots.hold_for({"pod:c": 1, "zone:z": 2}):
                pass
            with slots.hold(), pytest.raises(Full, match="all"), slots.hold():
                pass
    assert slots.taken == 0
    with slots.hold(), slots.hold(), slots.hold_for({"pod:a": 1, "zone:z": 1}):
        assert slots.taken == 2
