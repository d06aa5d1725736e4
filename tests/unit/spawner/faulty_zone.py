"""An API server with one zone, in virtual time: for a while it fails in every way that it can, by a seed."""

import asyncio
import json
from typing import Self

from unit.spawner.pod_server import missing, pod

READ_SECONDS = 5.0
"""How long a call without an answer takes, before the library gives up."""


class Answer:
    """What the library hands out for a call with `_preload_content=False`."""

    def __init__(self, status, body=b"", lines=None) -> None:
        self.status, self._body, self.content = status, body, lines

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_) -> None:
        return None

    async def read(self):
        return self._body


def said(status, body):
    return Answer(status, json.dumps(body).encode())


class FaultyZone:
    """The calls of `CoreV1Api` that the hub makes; before `until` by the loop's clock, most of them go wrong.

    What goes wrong says nothing of the pod, or what cannot be: an API server that says in its own words that the pod is
    not there is right, and is not among the faults.
    """

    def __init__(self, random, until) -> None:
        self.random, self.until, self.pods, self.version = random, until, {}, 1
        self.deleted, self.faults, self.watching = [], {}, []

    def change(self, name, **status):
        """Change a pod, and say so on every watch that stands."""
        self.version += 1
        self.pods[name] = pod(name, str(self.version), **status)
        for queue in self.watching:
            queue.put_nowait({"type": "MODIFIED", "object": self.pods[name]})

    @property
    def troubled(self):
        return asyncio.get_running_loop().time() < self.until

    async def _fault(self, *, watch=False):
        """Return a wrong answer, or None: this call goes well; or raise as the library does."""
        if not self.troubled or self.random.random() < 0.15:
            return None
        kinds = ["timeout", "refused", "status", "junk", "stranger", "cut"]
        kind = self.random.choice([*kinds, "gone-place"] if watch else kinds)
        self.faults[kind] = self.faults.get(kind, 0) + 1
        if kind == "timeout":
            await asyncio.sleep(self.random.uniform(0.1, READ_SECONDS))
            raise TimeoutError
        if kind == "refused":
            raise ConnectionError
        if kind == "cut":
            return Answer(200, b'{"kind": "PodList", "metadata": {"resour', self._lines(cut=True))
        if kind == "gone-place":
            return Answer(410, b"{}", self._lines(cut=True))
        return self._wrong(kind)

    def _wrong(self, kind):
        if kind == "status":
            code = self.random.choice([401, 403, 404, 409, 410, 429, 500, 502, 503, 504])
            return said(code, self.random.choice([{}, "no", None, {"kind": "Status", "reason": "Conflict"}]))
        if kind == "junk":
            return said(self.random.choice([200, 404]), self.random.choice([[], 1, None, {"items": None}]))
        stranger = pod("ws-somebody-else", "1", phase="Failed")
        return said(self.random.choice([200, 404]), stranger)

    async def _lines(self, *, cut=False, queue=None):
        """The lines of a watch; a cut one ends in the middle, with an error or without."""
        if cut:
            await asyncio.sleep(self.random.uniform(0, 20))
            yield self.random.choice(
                [
                    b'{"type": "MODIF',
                    b'{"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}',
                    b'{"type": "ERROR", "object": {"kind": "Status", "code": 500, "reason": "Internal"}}',
                    b'{"type": "MODIFIED"}',
                    b'{"type": "BOOKMARK", "object": {"metadata": {}}}',
                    json.dumps({"type": "DELETED", "object": pod("ws-somebody-else", "3")}).encode(),
                ]
            )
            return
        ends = asyncio.get_running_loop().time() + 60
        try:
            while (left := ends - asyncio.get_running_loop().time()) > 0:
                try:
                    yield json.dumps(await asyncio.wait_for(queue.get(), left)).encode()
                except TimeoutError:
                    return
        finally:
            self.watching.remove(queue)

    async def list_namespaced_pod(self, _namespace, *, watch=False, **_more):
        wrong = await self._fault(watch=watch)
        if wrong is not None:
            if wrong.content is None:
                wrong.content = self._lines(cut=True)
            return wrong
        if watch:
            queue = asyncio.Queue()
            self.watching.append(queue)
            return Answer(200, lines=self._lines(queue=queue))
        version = {"resourceVersion": str(self.version)}
        return said(200, {"kind": "PodList", "metadata": version, "items": list(self.pods.values())})

    async def read_namespaced_pod(self, name, _namespace, **_more):
        wrong = await self._fault()
        if wrong is not None:
            return wrong
        found = self.pods.get(name)
        return said(200, found) if found else said(404, missing())

    async def delete_namespaced_pod(self, name, _namespace, **_more):
        self.deleted.append(name)
        found = self.pods.pop(name, None)
        return said(200, found) if found else said(404, missing())
