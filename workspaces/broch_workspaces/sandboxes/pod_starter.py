"""Sandboxes as pods, by the broker's own account: it may create, list and delete pods of one namespace."""

from __future__ import annotations

import json
import logging
from collections.abc import Container, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import structlog
from kubernetes.aio import client, config

from broch_workspaces.sandboxes.pods import OWNER_LABEL, sandbox_pod, selector
from broch_workspaces.sandboxes.settings import BrokerSettings
from broch_workspaces.sandboxes.starting import StartFailed

_log = structlog.get_logger(__name__)
# Its debug log holds whole answers, and the answer to a created pod repeats the token.
logging.getLogger("kubernetes.aio.client.rest").setLevel(logging.INFO)
_SECONDS = 15.0
"""Longest wait for one answer of the API server."""
_OVER = frozenset({"Succeeded", "Failed"})
_OTHERS_MARGIN = timedelta(seconds=60)
"""How long another broker is given to remove what is its own."""
_HOPELESS = {
    "ErrImageNeverPull": "the image is not on the node",
    "ErrImagePull": "the image cannot be fetched",
    "ImagePullBackOff": "the image cannot be fetched",
    "InvalidImageName": "the image has no valid name",
    "CreateContainerConfigError": "the container cannot be set up",
    "CreateContainerError": "the container cannot be made",
    "RunContainerError": "the container cannot be run",
}
"""Reasons of a waiting container that do not go away within a start."""

Answer = tuple[int, Any]
"""Status and JSON of one call."""


async def connect(settings: BrokerSettings) -> client.ApiClient:
    """Return a client of the API server.

    Raises:
        kubernetes.aio.config.ConfigException: this is no pod, and no kubeconfig is set.
    """
    configuration = client.Configuration()
    if settings.kubeconfig is not None:
        await config.load_kube_config(  # type: ignore[no-untyped-call]
            str(settings.kubeconfig), client_configuration=configuration
        )
    else:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    return client.ApiClient(configuration)


class PodStarter:
    """Makes one pod for each sandbox.

    Args:
        api: of the API server.
        settings: what pods are made of.
    """

    def __init__(self, api: client.ApiClient, settings: BrokerSettings) -> None:
        self._api = api
        self._settings = settings
        self._pods = f"/api/v1/namespaces/{settings.namespace}/pods"

    async def start(self, name: str, token: str) -> None:
        """Create the pod."""
        # As it is now: this broker's own certificate is renewed while it runs, perhaps by another authority.
        authority = (self._settings.tls / "ca.crt").read_text(encoding="ascii")
        pod = sandbox_pod(name, token, authority, self._settings)
        query = [("fieldValidation", "Strict"), ("fieldManager", "broch-sandboxes")]
        status, answer = await self._call("POST", self._pods, query, pod)
        # Taken: by ourselves, in a try whose answer was lost. The name is random.
        if status not in {200, 201, 409}:
            message = _message(answer)
            # A full quota empties as pods end; what else is refused stays so.
            full = status == 403 and "exceeded quota" in message
            _log.warning("sandboxes.pod_refused", status=status, message=message)
            what = "The quota of sandboxes is full." if full else "The cluster refused the pod of a sandbox."
            raise StartFailed(what, lasting=400 <= status < 500 and not full and status != 429)

    async def trouble(self, name: str) -> str:
        """Look at the pod."""
        try:
            status, answer = await self._call("GET", self._pods, [("fieldSelector", f"metadata.name={name}")])
        except StartFailed:
            return ""
        if status != 200:
            return ""
        items = answer.get("items") or []
        return trouble_of(items[0]) if items else "The pod of the sandbox was removed."

    async def end(self, name: str) -> None:
        """Delete the pod."""
        # Not with 0: the object would be gone while its processes may still run.
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 1}
        status, answer = await self._call("DELETE", f"{self._pods}/{name}", [], options)
        if status not in {200, 202, 404}:
            raise StartFailed(f"The cluster did not delete the pod {name}: {_message(answer)}")

    async def sweep(self, keep: Container[str]) -> int:
        """Delete pods that belong to nobody."""
        status, answer = await self._call("GET", self._pods, [("labelSelector", selector())])
        if status != 200:
            raise StartFailed(f"The cluster does not list sandboxes: {_message(answer)}")
        now = datetime.now(UTC)
        left = [
            pod["metadata"]["name"]
            for pod in answer.get("items") or []
            if pod["metadata"]["name"] not in keep and is_orphan(pod, self._settings, now)
        ]
        for name in left:
            await self.end(name)
        return len(left)

    async def _call(
        self, method: str, path: str, query: list[tuple[str, str]], body: Mapping[str, Any] | None = None
    ) -> Answer:
        """Make one call with plain JSON: the package's models would drop fields that they do not know."""
        try:
            asked = await self._api.param_serialize(
                method,
                path,
                query_params=query,
                header_params={"Accept": "application/json", "Content-Type": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._api.call_api(*asked, _request_timeout=_SECONDS)
            content = await response.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise StartFailed(f"The cluster does not answer ({type(error).__name__}).") from None
        try:
            return int(response.status), json.loads(content)
        except ValueError:
            return int(response.status), {}


def _message(answer: Any) -> str:
    return str(answer.get("message", ""))[:500] if isinstance(answer, dict) else ""


def is_orphan(pod: Mapping[str, Any], settings: BrokerSettings, now: datetime) -> bool:
    """Say whether nobody will remove this pod, which is none that this broker knows.

    Args:
        pod: as the API server tells it.
        settings: say who we are, and how long a sandbox lives at most.
        now: UTC.
    """
    if pod["metadata"].get("deletionTimestamp"):
        return False
    if (pod["metadata"].get("labels") or {}).get(OWNER_LABEL) == settings.owner:
        return True
    age = now - datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    if (pod.get("status") or {}).get("phase") in _OVER:
        return age > _OTHERS_MARGIN
    return age > timedelta(seconds=settings.deadline_seconds) + _OTHERS_MARGIN


def trouble_of(pod: Mapping[str, Any]) -> str:
    """Return why a pod that has not called back will not any more, for a person; empty while it may."""
    status = pod.get("status") or {}
    if status.get("phase") in _OVER:
        return "The pod of the sandbox ended before it began."
    for container in status.get("containerStatuses") or []:
        state = container.get("state") or {}
        reason = (state.get("waiting") or {}).get("reason", "")
        if reason in _HOPELESS:
            return f"The pod of the sandbox does not start: {_HOPELESS[reason]} ({reason})."
        if state.get("terminated"):
            return "A container of the sandbox ended before it began."
    return ""
