"""A workspace's pod as JupyterHub sees it: it runs for as long as nobody knows better, and is gone when that is certain."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broch_spawner import project_spawner
from broch_spawner.control import ControlPlaneError
from broch_spawner.project_spawner import ProjectSpawner
from support.counts import count
from unit.spawner.pod_server import ZONE, pod, until, with_server

NAME = "ws-" + "a" * 25 + "-0123456789abcdef"
RUNNING = {"phase": "Running", "containerStatuses": [{"name": "notebook", "state": {"running": {}}}]}


def ended(code, reason="Error"):
    state = {"terminated": {"exitCode": code, "reason": reason}}
    return {"phase": "Failed", "containerStatuses": [{"name": "notebook", "state": state}]}


class Control:
    def __init__(self) -> None:
        self.told = []

    async def post_event(self, _principal, event, detail, start):
        self.told.append((event, detail, start))

    async def post_idle(self, _principal, _stop_at, _start):
        pass

    async def spawn_plan(self, _principal):
        raise ControlPlaneError("Your project ended on 1 May.")


def made(monkeypatch, api, control=None):
    """Return a spawner with a pod that was found again after a restart of the hub."""
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)
    monkeypatch.setattr(ProjectSpawner, "watches", None)
    spawner = ProjectSpawner(user=SimpleNamespace(name="w" + "a" * 25, id=1, url="/user/w/"))
    spawner.api = api
    told = control or Control()
    monkeypatch.setattr(spawner, "_control", lambda: told)
    spawner.load_state({"pod": NAME, "zone": ZONE, "uid": f"uid-{NAME}", "start": "0123456789abcdef"})
    return spawner, told


def test_what_is_kept_finds_the_pod_again(monkeypatch):
    async def story(server, api):
        server.pods[NAME] = pod(NAME, **RUNNING)
        spawner, _ = made(monkeypatch, api)
        kept = spawner.get_state()
        again, _ = made(monkeypatch, api)
        again.load_state(kept)
        assert again.get_state() == kept
        assert await again.poll() is None
        again.clear_state()
        assert again.get_state() == {}
        assert await again.poll() == 0

    with_server(story)


def test_a_workspace_runs_while_the_api_server_is_away(monkeypatch):
    async def story(server, api):
        server.pods[NAME] = pod(NAME, **RUNNING)
        spawner, control = made(monkeypatch, api)
        server.down = True
        assert await spawner.poll() is None
        server.down = False
        assert await spawner.poll() is None
        assert control.told == []
        spawner.clear_state()

    with_server(story)


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (ended(1), 1, ("failed", "The workspace ended unexpectedly (exit status 1). Open it again.")),
        (ended(0), 0, ("stopped", "The workspace ended by itself.")),
        (
            {"phase": "Failed", "reason": "DeadlineExceeded"},
            1,
            ("stopped", "The time for this workspace is over."),
        ),
    ],
)
def test_the_end_of_a_pod_is_told_once_and_the_rest_of_it_removed(monkeypatch, status, code, told):
    async def story(server, api):
        server.pods[NAME] = pod(NAME, **status)
        spawner, control = made(monkeypatch, api)
        assert await spawner.poll() == code
        assert await spawner.poll() == code
        await until(lambda: NAME not in server.pods and control.told)
        assert control.told == [(*told, "0123456789abcdef")]
        spawner.clear_state()

    with_server(story)


def test_a_pod_that_the_api_server_does_not_have_is_gone(monkeypatch):
    async def story(_server, api):
        spawner, control = made(monkeypatch, api)
        assert await spawner.poll() == 1
        await until(lambda: control.told)
        assert control.told[0][:2] == ("failed", "The workspace was ended by the platform. Open it again.")
        spawner.clear_state()

    with_server(story)


HICCUPS = st.one_of(
    st.tuples(st.sampled_from([401, 403, 404, 409, 410, 429, 500, 502, 503, 504]), st.just({})),
    st.tuples(
        st.sampled_from([200, 404]),
        st.sampled_from([[], "text", 1, None, {"kind": "Status"}, {"items": None}]),
    ),
    st.just((200, {"metadata": {"name": "another"}})),
    st.just((404, {"kind": "Status", "reason": "NotFoundAtTheProxy"})),
    st.just((200, {"metadata": {"resourceVersion": "1"}, "items": [{"metadata": {}}]})),
)


@pytest.mark.usefixtures("_quick")
@settings(max_examples=count("no trouble of the API server ends a workspace", ci=60, nightly=3000), deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(troubles=st.lists(HICCUPS, min_size=1, max_size=12))
def test_no_trouble_of_the_api_server_ends_a_workspace(monkeypatch, troubles):
    async def story(server, api):
        server.pods[NAME] = pod(NAME, **RUNNING)
        spawner, control = made(monkeypatch, api)
        server.answers = list(troubles)
        while server.answers:
            assert await spawner.poll() is None
            await asyncio.sleep(0)
        assert await spawner.poll() is None
        assert control.told == []
        assert NAME in server.pods
        spawner.clear_state()

    with_server(story)


@pytest.fixture
def _quick(monkeypatch):
    monkeypatch.setattr("broch_spawner.zone_watch._FIRST_PAUSE", 0.001)
    monkeypatch.setattr("broch_spawner.zone_watch._LONGEST_PAUSE", 0.002)


def test_a_stop_returns_when_the_pod_is_gone_however_long_the_api_server_is_away(monkeypatch):
    async def story(server, api):
        server.pods[NAME] = pod(NAME, **RUNNING)
        spawner, control = made(monkeypatch, api)
        server.down = True
        stopping = asyncio.create_task(spawner.stop())
        await until(lambda: len(server.asked) > 4)
        assert not stopping.done()
        server.down = False
        await asyncio.wait_for(stopping, 20)
        assert not server.pods
        await until(lambda: control.told)
        assert control.told[0][:2] == ("stopped", "The workspace was stopped.")
        assert await spawner.poll() is not None

    with_server(story)


def test_an_end_is_noticed_by_the_watch_and_not_by_the_next_poll(monkeypatch):
    async def story(server, api):
        server.pods[NAME] = pod(NAME, **RUNNING)
        spawner, control = made(monkeypatch, api)
        watch = spawner._enter_zone()
        await until(lambda: watch.fresh)
        spawner._follow_from(watch)
        await server.say({"type": "MODIFIED", "object": pod(NAME, "5", **ended(137, "OOMKilled"))})
        await until(lambda: control.told)
        assert "ran out of memory" in control.told[0][1]
        spawner.clear_state()

    with_server(story)


@pytest.mark.parametrize("stopping", [False, True])
def test_only_an_end_that_nobody_asked_for_has_the_hub_clean_up(monkeypatch, stopping):
    """Who stops it cleans up too: the second time would be that of the next start, and take it away."""

    async def story(server, api):
        server.pods[NAME] = pod(NAME, **RUNNING)
        spawner, control = made(monkeypatch, api)
        cleaned = []
        spawner.add_poll_callback(cleaned.append, "by the hub")
        watch = spawner._enter_zone()
        await until(lambda: watch.fresh)
        spawner._follow_from(watch)
        (following,) = spawner._while_running
        spawner._stop_pending = stopping
        await server.say({"type": "MODIFIED", "object": pod(NAME, "5", **ended(0))})
        await until(lambda: control.told and following.done())
        assert cleaned == ([] if stopping else ["by the hub"])
        spawner.clear_state()

    with_server(story)


def test_a_start_that_may_not_be_makes_nothing(monkeypatch):
    async def story(server, api):
        spawner, control = made(monkeypatch, api)
        spawner.clear_state()
        with pytest.raises(Exception, match="ended on 1 May"):
            await spawner.start()
        await until(lambda: control.told)
        assert control.told[0][:2] == ("failed", "Your project ended on 1 May.")
        assert server.asked == []

    with_server(story)


def test_a_request_to_the_hub_is_not_looked_at(monkeypatch):
    async def story(server, api):
        spawner, _ = made(monkeypatch, api)
        spawner.user_options = {"profile": "huge", "image": "evil"}
        await spawner.load_user_options()
        await spawner.delete_forever()
        assert spawner.pod_name == NAME
        assert server.asked == []

    with_server(story)


def test_a_start_waits_for_its_turn_longer_than_for_a_node_and_says_so(monkeypatch):
    async def story(server, api):
        gated = pod(NAME, phase="Pending")
        gated["spec"] = {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}
        server.pods[NAME] = gated
        spawner, control = made(monkeypatch, api)
        monkeypatch.setitem(project_spawner._TELL_AFTER, "queue", 0.1)
        spawner.start_seconds = spawner.node_seconds = 0.2
        start = asyncio.create_task(spawner._until_it_answers())
        await until(lambda: control.told)
        assert control.told[0][:2] == (
            "waiting",
            "It waits in the queue for a GPU. The workspace starts when its turn comes.",
        )
        await asyncio.sleep(0.5)
        assert not start.done()
        # Its turn has come, and there is no node after all: from now on the clock of nodes counts.
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "message": "0/1 nodes: 1 Insufficient nvidia.com/gpu.",
        }
        turn = pod(NAME, "5", phase="Pending", conditions=[condition])
        server.pods[NAME] = turn
        await server.say({"type": "MODIFIED", "object": turn})
        with pytest.raises(project_spawner._Late, match="has a free GPU"):
            await asyncio.wait_for(start, 20)
        spawner.clear_state()

    with_server(story)


def test_the_longest_wait_for_a_turn_is_that_of_the_queue(monkeypatch):
    async def story(_server, api):
        spawner, _ = made(monkeypatch, api)
        spawner.queue_seconds = 100.0
        since, queue = {}, project_spawner.Trouble("queue", "x")
        assert not spawner._is_over(queue, since, 0.0)
        assert not spawner._is_over(queue, since, 100.0)
        assert spawner._is_over(queue, since, 100.1)

    with_server(story)


def test_a_trouble_is_given_its_time_and_a_new_kind_of_it_another(monkeypatch):
    async def story(_server, api):
        spawner, _ = made(monkeypatch, api)
        since = {}
        image, node = (project_spawner.Trouble(kind, "x") for kind in ("image", "node"))
        assert not spawner._is_over(image, since, 0.0)
        assert not spawner._is_over(image, since, 30.0)
        assert spawner._is_over(image, since, 30.1)
        assert not spawner._is_over(node, since, 31.0)
        assert not spawner._is_over(node, since, 31.0 + spawner.node_seconds)
        assert not spawner._is_over(None, since, 1e9)
        assert not spawner._is_over(node, since, 2e9)

    with_server(story)
