"""Asks the API server whose token it is (TokenReview), and holds a pod to the address that it first came from.

Answers are remembered for seconds under a hash of the token; the token itself is kept nowhere and logged nowhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import structlog
from kubernetes.aio import client, config

from broch_core.errors import Denied, Unauthenticated, Unavailable
from broch_workspaces.gateway.identity import AUDIENCE, NotOurs, Pod, looks_like_a_token, pod_of

log = structlog.get_logger()

_REMEMBERED = 10_000
"""Most answers and addresses kept; the oldest go first."""
_AT_ONCE = 16
"""Questions to the API server under way at once."""
# Its debug log holds whole answers, and a TokenReview's answer repeats the token.
logging.getLogger("kubernetes.aio.client.rest").setLevel(logging.INFO)


class Judge(Protocol):
    """Judges tokens, such as the API server."""

    async def review(self, token: str) -> dict[str, Any]:
        """Return the `status` of a TokenReview.

        Raises:
            Unavailable: nobody can say.
        """


class ApiServerJudge:
    """The API server. Make it inside the event loop."""

    def __init__(self, api: client.ApiClient, seconds: float) -> None:
        self._api = api
        self._reviews = client.AuthenticationV1Api(api)
        self._seconds = seconds

    async def review(self, token: str) -> dict[str, Any]:
        """Ask by TokenReview, for our audience alone.

        Raises:
            Unavailable: it does not answer, or not to this account.
        """
        spec = client.V1TokenReviewSpec(token=token, audiences=[AUDIENCE])
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._reviews.create_token_review(client.V1TokenReview(spec=spec))
        except (client.ApiException, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("gateway.review_failed", reason=getattr(error, "status", type(error).__name__))
            raise Unavailable(
                "The cluster cannot say right now which workspace this is. Try again in a minute."
            ) from None
        status = self._api.sanitize_for_serialization(answer.status)  # type: ignore[no-untyped-call]
        return dict(status or {})


async def api_client(kubeconfig: Path | None) -> client.ApiClient:
    """Return a client of the API server: by the pod's own account, or by a file outside a cluster."""
    chosen = client.Configuration()
    if kubeconfig is None:
        config.load_incluster_config(client_configuration=chosen)  # type: ignore[no-untyped-call]
    else:
        await config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=str(kubeconfig), client_configuration=chosen
        )
    return client.ApiClient(chosen)


class Reviews:
    """Who shows a token, asked of the API server or remembered.

    Args:
        judge: who knows.
        cache_seconds: how long an answer is believed.
        count: told of each question and its answer, for the metrics.
        now: seconds on a clock that never goes back.
    """

    def __init__(
        self,
        judge: Judge,
        cache_seconds: float,
        count: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._judge = judge
        self._seconds = cache_seconds
        self._count = count
        self._now = now
        self._known: OrderedDict[bytes, tuple[float, Pod | None]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Pod | None]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def pod(self, token: str) -> Pod:
        """Return the pod that a token is bound to.

        Raises:
            Unauthenticated: it is none of a pod of a zone for us.
            Unavailable: the API server does not say.
        """
        if not looks_like_a_token(token):
            raise Unauthenticated("Show the token of this workspace.")
        key = hashlib.sha256(token.encode()).digest()
        until, pod = self._known.get(key, (0.0, None))
        if self._now() >= until:
            pod = await self._ask(key, token)
        if pod is None:
            raise Unauthenticated("This token is not of a workspace that runs now.")
        return pod

    async def _ask(self, key: bytes, token: str) -> Pod | None:
        """Ask once for all who wait for the same answer; who goes away takes it from nobody."""
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._judged(key, token))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _judged(self, key: bytes, token: str) -> Pod | None:
        async with self._turns:
            began = self._now()
            try:
                status = await self._judge.review(token)
            except Unavailable:
                self._count("unavailable")
                raise
        try:
            pod: Pod | None = pod_of(status)
            self._count("pod")
        except NotOurs:
            pod = None
            self._count("refused")
        self._known[key] = (began + self._seconds, pod)  # from when it was asked: it may be as old as that
        self._known.move_to_end(key)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return pod


class Addresses:
    """Holds each pod to the first address of each family that showed its token: a token that was carried away is no use.

    A second line only: zones do not reach one another, and after a restart of the gateway the first to come counts.
    """

    def __init__(self) -> None:
        self._of: OrderedDict[tuple[str, bool], str] = OrderedDict()

    def check(self, pod: Pod, address: str) -> None:
        """Raise unless this is where the pod is.

        Raises:
            Denied: its token came from another address before.
        """
        key = (pod.uid, ":" in address)
        first = self._of.setdefault(key, address)
        self._of.move_to_end(key)
        while len(self._of) > _REMEMBERED:
            self._of.popitem(last=False)
        if first != address:
            log.error("gateway.address_differs", namespace=pod.namespace, pod=pod.name)
            raise Denied("This token belongs to a workspace at another address.")
