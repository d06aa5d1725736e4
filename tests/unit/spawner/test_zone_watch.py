"""The hub's view of a zone: kept by events, taken up again after every kind of trouble, and never a reason to stop."""

import asyncio

import pytest

from broch_spawner import zone_watch
from broch_spawner.zone_pods import PodNotMade, events_of, make_pod, remove_pod
from broch_spawner.zone_watch import Forgotten, PodCache, Seen, ZoneWatch, ZoneWatches, read_pod
from unit.spawner.pod_server import ZONE, missing, pod, until, with_server


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(zone_watch, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(zone_watch, "_LONGEST_PAUSE", 0.02)


def test_a_watch_follows_pods_and_goes_on_from_where_it_was_without_a_new_list():
    async def story(server, api):
        server.pods["a"] = pod("a")
        watch = ZoneWatch(ZONE, api)
        watch.start()
        await server.say({"type": "ADDED", "object": pod("b", "5")})
        await until(lambda: watch.seen("b"))
        assert watch.fresh
        assert watch.seen("a") == Seen(server.pods["a"])
        await server.say({"type": "BOOKMARK", "object": pod("", "8")})
        await server.cut()
        await server.say({"type": "DELETED", "object": pod("b", "9")})
        await until(lambda: watch.seen("b").gone)
        assert server.lists == 1
        assert server.watches[-1][0] == "8"
        labels = {query["labelSelector"] for _, _, query in server.asked}
        assert labels == {"broch.dev/role=workspace,app.kubernetes.io/part-of=broch"}
        watch.stop()

    with_server(story)


def test_a_place_that_was_forgotten_means_a_fresh_list_and_what_is_not_in_it_is_gone():
    async def story(server, api):
        server.pods = {"a": pod("a"), "b": pod("b")}
        watch = ZoneWatch(ZONE, api)
        watch.start()
        await until(lambda: watch.seen("b") and watch.fresh)
        del server.pods["b"]
        await server.say({"type": "ERROR", "object": {"code": 410, "reason": "Expired"}})
        await until(lambda: watch.seen("b").gone)
        assert not watch.seen("a").gone
        assert server.lists == 2
        watch.stop()

    with_server(story)


def test_a_watch_never_gives_up_and_says_meanwhile_that_it_knows_nothing_for_sure():
    async def story(server, api):
        watch = ZoneWatch(ZONE, api)
        watch.start()
        await until(lambda: watch.fresh)
        server.down = True
        await server.cut()
        await until(lambda: watch.restarts > 20)
        assert not watch.fresh
        server.down = False
        await server.say({"type": "ADDED", "object": pod("late", "7")})
        await until(lambda: watch.seen("late"))
        assert watch.fresh
        watch.stop()

    with_server(story)


def test_who_waits_is_woken_by_a_change():
    async def story(server, api):
        watch = ZoneWatch(ZONE, api)
        watch.start()
        await until(lambda: watch.fresh)
        waiting = asyncio.create_task(watch.change(10))
        await server.say({"type": "ADDED", "object": pod("a", "5")})
        await asyncio.wait_for(waiting, 20)
        watch.stop()

    with_server(story)


def test_a_zone_has_one_watch_and_it_ends_with_its_last_user():
    async def story(_server, api):
        watches = ZoneWatches(lambda namespace: ZoneWatch(namespace, api))
        one, two = watches.enter(ZONE), watches.enter(ZONE)
        assert one is two
        watches.leave(one)
        assert one._task is not None
        watches.leave(two)
        assert one._task is None
        assert watches.enter(ZONE) is not one

    with_server(story)


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, pod("a"), Seen(pod("a"))),
        (404, missing(), Seen({}, gone=True)),
        (404, {"message": "a proxy on the way"}, None),
        (404, {"kind": "Status", "reason": "Forbidden"}, None),
        (200, pod("another"), None),
        (200, {}, None),
        (401, {"kind": "Status"}, None),
        (500, {"kind": "Status"}, None),
        (200, [], None),
    ],
)
def test_only_the_api_servers_own_word_says_that_a_pod_is_gone(status, body, found):
    async def story(server, api):
        server.answers = [(status, body)]
        assert await read_pod(api, ZONE, "a") == found

    with_server(story)


def test_nothing_is_known_of_a_pod_while_nobody_answers():
    async def story(server, api):
        server.down = True
        assert await read_pod(api, ZONE, "a") is None

    with_server(story)


def test_a_pod_is_made_once_however_often_the_answer_is_lost():
    async def story(server, api):
        new = pod("a")
        server.answers = [(503, {}), (500, {})]
        assert await make_pod(api, new) == "uid-new"
        server.answers = [(503, {}), (409, {"reason": "AlreadyExists"})]
        assert await make_pod(api, new) == "uid-new"

    with_server(story)


def test_a_quota_that_another_writes_too_refuses_nothing():
    async def story(server, api):
        met = (409, {"reason": "Conflict", "message": "the object has been modified"})
        server.answers = [met, met]
        assert await make_pod(api, pod("a")) == "uid-new"
        # Nor has it made anything: a pod of that name is still somebody else's.
        server.answers = [met, (409, {"reason": "AlreadyExists", "message": "already exists"})]
        with pytest.raises(PodNotMade):
            await make_pod(api, pod("a"))

    with_server(story)


def test_a_pod_of_that_name_which_is_not_ours_is_not_taken_for_ours():
    async def story(server, api):
        server.answers = [(409, {"message": "already exists"})]
        with pytest.raises(PodNotMade):
            await make_pod(api, pod("a"))

    with_server(story)


def test_a_refusal_is_final_and_in_words():
    async def story(server, api):
        message = "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
        server.answers = [(403, {"message": message})]
        with pytest.raises(PodNotMade, match="may run 2 workspaces at once"):
            await make_pod(api, pod("a"))
        assert len(server.asked) == 1

    with_server(story)


def test_a_pod_is_removed_when_it_is_gone_and_not_before():
    async def story(server, api):
        server.pods["a"] = pod("a")
        server.down = True
        removing = asyncio.create_task(remove_pod(api, ZONE, "a"))
        await until(lambda: len(server.asked) > 4)
        assert not removing.done()
        server.down = False
        await asyncio.wait_for(removing, 20)
        assert not server.pods
        deletions = [query for method, _, query in server.asked if method == "DELETE"]
        assert all("gracePeriodSeconds" not in query for query in deletions)

    with_server(story)


def test_events_of_another_pod_are_never_read():
    async def story(server, api):
        server.events = [
            {"reason": "Pulled", "lastTimestamp": "2", "involvedObject": {"uid": "mine"}},
            {"reason": "Secret", "lastTimestamp": "3", "involvedObject": {"uid": "another"}},
            {"reason": "Pulling", "lastTimestamp": "1", "involvedObject": {"uid": "mine"}},
        ]
        found = await events_of(api, ZONE, "mine")
        assert [one["reason"] for one in found] == ["Pulling", "Pulled"]
        assert server.asked[-1][2]["fieldSelector"] == "involvedObject.uid=mine"

    with_server(story)


def test_an_error_on_a_watch_keeps_the_place_unless_it_was_forgotten():
    cache = PodCache(version="3")
    with pytest.raises(ValueError, match="500"):
        cache.apply({"type": "ERROR", "object": {"code": 500}})
    assert cache.version == "3"
    with pytest.raises(Forgotten):
        cache.apply({"type": "ERROR", "object": {"code": 410}})
    assert cache.version == ""
