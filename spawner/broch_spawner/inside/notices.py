"""Part of the notebook server: looks what goes on, tells the hub, and tells Lab's page when the workspace will end.

An extension of jupyter_server. JupyterHub's own part of the server reports `web_app.last_activity()` to the hub every
`JUPYTERHUB_ACTIVITY_INTERVAL` seconds; here that becomes the last real activity, and not that a page asked something.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from .activity import Gpus, Look, Worker, active_at, cpu_seconds, has_foreground
from .idle import Policy

POLICY = ("BROCH_IDLE_SECONDS", "BROCH_WARN_SECONDS")
DEADLINE = "BROCH_DEADLINE"
"""Environment: the policy of the plan, seconds, and the moment of its deadline (ISO 8601)."""
_LONGEST_PAUSE = 15.0
_INTERRUPT_SECONDS = 1.5
"""How long kernels have to leave what they do after an interrupt. The whole end has five seconds."""


def pause_of(policy: Policy) -> float:
    """Return the seconds between two looks: several within the time of the warning."""
    return min(max(policy.warn.total_seconds() / 6, 1.0), _LONGEST_PAUSE) if policy.idle else _LONGEST_PAUSE


def policy_of(environment: Mapping[str, str]) -> Policy:
    """Return the policy that the server was started with; without one it is never idle."""
    try:
        idle, warn = (float(environment[name]) for name in POLICY)
    except (KeyError, ValueError):
        return Policy(timedelta(0), timedelta(0))
    return Policy.of_seconds(idle, warn)


def notice(active: datetime, policy: Policy, now: datetime, deadline: str | None) -> dict[str, Any]:
    """Return what the page is told: when the workspace ends, by the clock of this server."""
    stop_at = active + policy.idle
    return {
        "now": now.isoformat(),
        "idle_stop_at": stop_at.isoformat() if policy.idle else None,
        "idle_seconds": policy.idle.total_seconds(),
        "warn_seconds": policy.warn.total_seconds(),
        "deadline_at": deadline,
        "every_seconds": pause_of(policy),
    }


class Watch:
    """Looks what goes on, for as long as the server runs.

    Args:
        serverapp: jupyter_server's application.
        policy: of this start.
    """

    def __init__(self, serverapp: Any, policy: Policy) -> None:
        self.policy = policy
        self.active_at = self._person_at = self._told_at = datetime.now(UTC)
        self._server = serverapp
        self._gpus = Gpus()
        self._last: Look | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._server.web_app.last_activity = lambda: self.active_at
        self._task = self._server.io_loop.asyncio_loop.create_task(self._run())

    async def person_is_there(self) -> None:
        """The person did something in a page."""
        self._person_at = datetime.now(UTC)
        await self.look()

    async def look(self) -> None:
        """Look once; somebody who comes back to a workspace that would soon be stopped is told to the hub at once."""
        now = datetime.now(UTC)
        look = Look(now, tuple(self._workers()), cpu_seconds(), self._gpus.percent())
        active = active_at(self._last, look, person_at=self._person_at)
        self.active_at = max(self.active_at, active)
        if self._last is None or now - self._last.at >= timedelta(seconds=1):
            self._last = look
        late = self.policy.idle - self.policy.warn - timedelta(seconds=self._interval)
        if self.policy.idle and self.active_at - self._told_at >= late:
            await self._tell()

    @property
    def _interval(self) -> float:
        return float(os.environ.get("JUPYTERHUB_ACTIVITY_INTERVAL", "60"))

    async def _tell(self) -> None:
        self._told_at = self.active_at
        for apps in self._server.extension_manager.extension_apps.values():
            for app in apps:
                if hasattr(app, "notify_activity"):
                    await app.notify_activity()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(pause_of(self.policy))
            try:
                await self.look()
            except Exception:
                # The hub judges a server that says nothing by what it sees itself.
                self._server.log.exception("activity.unseen")

    def _workers(self) -> Iterator[Worker]:
        kernels = self._server.kernel_manager
        for kernel_id in kernels.list_kernel_ids():
            with contextlib.suppress(KeyError, AttributeError):  # it goes meanwhile, or just comes
                kernel = kernels.get_kernel(kernel_id)
                yield Worker(kernel.execution_state == "busy", kernel.last_activity)
        terminals = self._server.web_app.settings.get("terminal_manager")
        for terminal in list(terminals.terminals.values()) if terminals else ():
            with contextlib.suppress(AttributeError):
                pty = terminal.ptyproc
                yield Worker(has_foreground(pty.fd, pty.pid), terminal.last_activity)

    async def interrupt_kernels(self) -> None:
        """Interrupt what computes, so that it can write what it has, and wait a moment for it."""
        kernels = self._server.kernel_manager
        busy = [
            kernel
            for kernel in map(kernels.get_kernel, kernels.list_kernel_ids())
            if getattr(kernel, "execution_state", "") == "busy"
        ]
        for kernel in busy:
            with contextlib.suppress(Exception):  # one that does not listen is ended with the rest
                await kernel.interrupt_kernel()
        until = asyncio.get_running_loop().time() + _INTERRUPT_SECONDS
        while any(kernel.execution_state == "busy" for kernel in busy):
            if asyncio.get_running_loop().time() > until:
                return
            await asyncio.sleep(0.05)


def _add_routes(serverapp: Any, watch: Watch) -> None:
    from jupyter_server.base.handlers import APIHandler  # noqa: PLC0415 - inside a workspace only
    from tornado import web  # noqa: PLC0415

    class Notices(APIHandler):
        """`GET broch/notices`: when it ends; `POST broch/active`: the person is there."""

        @web.authenticated
        def get(self) -> None:
            """Say when the workspace ends."""
            told = notice(watch.active_at, watch.policy, datetime.now(UTC), os.environ.get(DEADLINE))
            self.finish(told)

        @web.authenticated
        async def post(self) -> None:
            """Take it that the person is there."""
            await watch.person_is_there()
            self.get()

    base = serverapp.web_app.settings["base_url"].rstrip("/")
    serverapp.web_app.add_handlers(
        ".*$", [(f"{base}/broch/notices", Notices), (f"{base}/broch/active", Notices)]
    )


def _end_gently(serverapp: Any, watch: Watch) -> None:
    rest = serverapp.cleanup_kernels

    async def cleanup_kernels() -> None:
        await watch.interrupt_kernels()
        await rest()

    serverapp.cleanup_kernels = cleanup_kernels


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "broch_inside.notices"}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Begin (jupyter_server's interface)."""
    watch = Watch(serverapp, policy_of(os.environ))
    _add_routes(serverapp, watch)
    _end_gently(serverapp, watch)
    watch.start()
