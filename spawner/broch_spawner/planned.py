"""What every spawner of Broch does: start by the control plane's plan and nothing else, and tell what became of it."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from typing import Any

from jupyterhub.spawner import Spawner
from tornado import web
from traitlets import Instance, Unicode

from broch_spawner.control import ControlPlane, ControlPlaneError, Event
from broch_spawner.endpoint import Endpoint
from broch_spawner.entrances import SHARED
from broch_spawner.idle_clock import IdleClock
from broch_spawner.idle_watch import SIGNS, Signs
from broch_spawner.inside.idle import Policy
from broch_workspaces.plan import SpawnPlan

TIME_IS_OVER = "The time for this workspace is over."
WAS_STOPPED = "The workspace was stopped."
END_SECONDS = 5.0
"""How long a workspace whose time is over has to write what it has, once it is asked to end."""
_FROM_HUB = ("JUPYTERHUB_", "JPY_")


class PlanRefused(RuntimeError):
    """The plan asks for something that a workspace never gets; the text is for the researcher."""


class PlannedSpawner(Spawner):  # type: ignore[misc]
    """The common part; who starts and ends what is said by the abstract methods.

    Nothing of a request to the hub is looked at: the plan alone says what a workspace is.
    """

    control = Instance(Endpoint, allow_none=True, help="the control plane's internal API").tag(config=True)
    control_token = Unicode(help="bearer token for the control plane").tag(config=True)
    signs: Signs = SIGNS

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._tasks: set[asyncio.Task[None]] = set()
        self._while_running: list[asyncio.Task[None]] = []
        self._why = ""
        self._start = ""
        self._step = "Waiting for the control plane"
        self._idle_policy = Policy.of_seconds(0, 0)
        self._told_inside: dict[str, str] = {}
        self.shared = False

    def _control(self) -> ControlPlane:
        if self.control is None:
            raise ControlPlaneError("The hub was not told where the control plane is.")
        return ControlPlane(self.control, self.control_token)

    @abstractmethod
    async def _launch(self, plan: SpawnPlan) -> str:
        """Start what the plan says; return the address of its server."""

    @abstractmethod
    def _in_words(self, error: Exception) -> str | None:
        """Return what the researcher is told of an error of `_launch`; None: it is a fault of ours."""

    @abstractmethod
    def _alive(self) -> bool:
        """Whether what was started is still there, as far as is known."""

    @abstractmethod
    def _end_now(self) -> None:
        """Begin to end it."""

    def _ask_to_end(self) -> bool:
        """Ask what runs inside to end by itself; return whether it was asked. What `_end_now` begins may ask too."""
        return False

    @abstractmethod
    async def _clean_up(self) -> None:
        """Give back what a start took, whole or half."""

    @abstractmethod
    async def poll(self) -> int | None:
        """Return None while the workspace runs, else its exit status. Never raises."""

    @abstractmethod
    async def stop(self, now: bool = False) -> None:  # noqa: FBT001, FBT002 (JupyterHub's signature)
        """End the workspace: everything in it is gone when this returns. Files stay."""

    async def start(self) -> str:
        """Ask for the plan, start what it says, and return the address of the server.

        Raises:
            tornado.web.HTTPError: 409, with a text for the researcher.
        """
        self._why, self._start = "", ""
        self._step = "Asking the control plane what this workspace may have"
        try:
            plan = await self._control().spawn_plan(self.user.name)
            self._start = plan.start
            left = self._seconds_left(plan)
            self._idle_policy = Policy.of_seconds(plan.idle_seconds, plan.warn_seconds)
            self._told_inside = _told_inside(plan)
            self.signs.forget(self.user.name)
            if plan.shared:
                self._is_shared()
            address = await self._launch(plan)
        except Exception as error:
            text = str(error) if isinstance(error, ControlPlaneError | PlanRefused) else self._in_words(error)
            await self._clean_up()
            if text is None:
                self._tell("failed", "The workspace could not be started. Tell your administrator.")
                raise
            self.log.warning("workspace.refused principal=%s reason=%s", self.user.name, text)
            self._tell("failed", text)
            raise web.HTTPError(409, text) from error
        self._step = "Starting JupyterLab"
        self._while_running += [self._keep(self._stop_at_deadline(left)), self._keep(self._say_running())]
        self._watch_idle()
        return address

    def _is_shared(self) -> None:
        """Let the workspace be reached by stays alone, whatever its server would let in, and without a page that asks."""
        self.shared = True
        plain = str(self.user.proxy_spec).removesuffix("/")
        self.proxy_spec = f"{SHARED}.{plain}/"
        self.user.settings["oauth_no_confirm_list"].add(self.oauth_client_id)

    def _seconds_left(self, plan: SpawnPlan) -> float:
        if self.name:
            raise PlanRefused("A project has one workspace per person.")
        left = (plan.deadline_at - datetime.now(UTC)).total_seconds()
        if left <= 0:
            raise PlanRefused(TIME_IS_OVER)
        return left

    def _hub_environment(self, api_url: str) -> dict[str, str]:
        """Return the variables of JupyterHub that a single-user server needs, and none of the hub's own."""
        environment = {name: value for name, value in self.get_env().items() if name.startswith(_FROM_HUB)}
        environment["JUPYTERHUB_API_URL"] = api_url
        environment["JUPYTERHUB_ACTIVITY_URL"] = f"{api_url}/users/{self.user.name}/activity"
        environment["JUPYTERHUB_SINGLEUSER_EXTENSION"] = "1"
        return environment | self._told_inside

    async def _stop_at_deadline(self, seconds: float) -> None:
        # A sleep of days would miss a clock that is set right meanwhile; the plan is asked for at each start anyway.
        await asyncio.sleep(max(seconds - END_SECONDS, 0))
        self._why = TIME_IS_OVER
        self._ask_to_end()
        await self._until_ended(min(seconds, END_SECONDS))
        self._end_now()

    async def _until_ended(self, seconds: float) -> None:
        until = asyncio.get_running_loop().time() + seconds
        while self._alive() and (left := until - asyncio.get_running_loop().time()) > 0:  # noqa: ASYNC110 - a process
            await asyncio.sleep(min(0.1, left))

    def _watch_idle(self, *, fresh: bool = True) -> None:
        """Begin to stop the workspace when it is idle, if its plan says so."""
        if self._idle_policy.idle:
            clock = IdleClock(
                self._idle_policy, self.user.name, self.signs, self._reported, self._tell_idle, fresh=fresh
            )
            self._while_running.append(self._keep(self._stop_when_idle(clock)))

    async def _stop_when_idle(self, clock: IdleClock) -> None:
        await clock.run_out()
        self.log.info(
            "workspace.idle principal=%s seconds=%d", self.user.name, clock.policy.idle.total_seconds()
        )
        self._why = clock.text
        if self._ask_to_end():
            await self._until_ended(END_SECONDS)
        self._end_now()

    def _reported(self) -> datetime | None:
        """Return the last activity that the server inside reported; JupyterHub keeps it, in UTC without saying so."""
        kept: datetime | None = self.orm_spawner.last_activity if self.orm_spawner else None
        return kept.replace(tzinfo=UTC) if kept is not None else None

    async def _tell_idle(self, stop_at: datetime | None) -> bool:
        try:
            await self._control().post_idle(self.user.name, stop_at, self._start)
        except ControlPlaneError as error:
            self.log.warning("workspace.idle_untold principal=%s reason=%s", self.user.name, error)
            return False
        return True

    async def _say_running(self) -> None:
        while not self.ready:
            if not self._alive():
                return
            await asyncio.sleep(0.05)
        self._tell("running", "")

    def _tell(self, event: Event, detail: str) -> None:
        self._keep(self._post(event, detail, self._start))

    async def _post(self, event: Event, detail: str, start: str) -> None:
        for pause in (0.0, 1.0, 5.0):
            await asyncio.sleep(pause)
            try:
                await self._control().post_event(self.user.name, event, detail, start)
            except ControlPlaneError as error:
                self.log.warning(
                    "workspace.event_lost principal=%s event=%s reason=%s", self.user.name, event, error
                )
            else:
                return

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _end_clocks(self) -> None:
        """End what runs beside a workspace, but not who calls this."""
        for task in self._while_running:
            if task is not asyncio.current_task():
                task.cancel()
        self._while_running = []
        self.signs.forget(self.user.name)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what is being done (JupyterHub's interface)."""
        said = ""
        while True:
            if self._step != said:
                said = self._step
                yield {"progress": 50, "message": said}
            await asyncio.sleep(0.2)


def _told_inside(plan: SpawnPlan) -> dict[str, str]:
    """Return what the server inside needs to say when it will end (`inside/notices.py`)."""
    # A tenth of the time, so that what happens is known well before it would be too late.
    every = min(max(plan.idle_seconds // 10, 2), 60) if plan.idle_seconds else 300
    return {
        "BROCH_IDLE_SECONDS": str(plan.idle_seconds),
        "BROCH_WARN_SECONDS": str(plan.warn_seconds),
        "BROCH_DEADLINE": plan.deadline_at.isoformat(),
        "JUPYTERHUB_ACTIVITY_INTERVAL": str(every),
        **({"BROCH_SHARED": "1"} if plan.shared else {}),
    }
