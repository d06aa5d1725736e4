"""Plants thousands of zones in minutes: one that the controller made is copied in etcd, as the API server stored it.

Made through the API server, ten thousand zones take two cores hours. What lies in etcd afterwards is the same, byte by
byte, but for the ids: with the defaults, statuses and managed fields of the real objects. It works because every id
in it (ULIDs, UUIDs) is as long as any other of its kind, so that lengths within the stored form stay true.

As a program: `planting.py FILE` (JSON of a `Planting`) in the network of the node, where etcd listens. It prints the revision
of etcd that has them all.
"""

from __future__ import annotations

import base64
import dataclasses
import http.client
import itertools
import json
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ETCD = "127.0.0.1", 2379
_CONNECTIONS = 4

Pair = tuple[bytes, bytes]


@dataclasses.dataclass(frozen=True)
class Planting:
    """What is to be planted."""

    pattern: list[str]
    """Ids of the zone that is there."""
    copies: list[list[str]]
    """Ids of the others, in the same order."""


def copied(
    zone: Sequence[Pair], pattern: Sequence[str], copy: Sequence[str], new_uuid: Callable[[], str]
) -> list[Pair]:
    """Return a zone's keys and values with other ids. Every UUID becomes another one, the same one everywhere."""
    other = {old.encode(): new.encode() for old, new in zip(pattern, copy, strict=True)}
    uuids = {found for pair in zone for part in pair for found in _UUID.findall(part)}
    other |= {found: new_uuid().encode() for found in uuids}
    if any(len(old) != len(new) for old, new in other.items()):
        raise ValueError("an id is longer or shorter than the one in its place")
    every = re.compile(b"|".join(map(re.escape, other)))

    def changed(part: bytes) -> bytes:
        return every.sub(lambda found: other[found[0]], part)

    return [(changed(key), changed(value)) for key, value in zone]


def transactions(zone: Iterable[Pair]) -> list[list[Pair]]:
    """Return what is written together: as much as goes, but never two of one resource.

    Caches of the API server hang on one revision of etcd being one change of a resource.
    """
    by_resource: dict[bytes, list[Pair]] = {}
    for pair in zone:
        by_resource.setdefault(pair[0].split(b"/")[2], []).append(pair)
    return [[pair for pair in row if pair] for row in itertools.zip_longest(*by_resource.values())]


class _Etcd:
    """etcd's JSON gateway."""

    def __init__(self) -> None:
        self._connection = http.client.HTTPConnection(*_ETCD, timeout=60)

    def _call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", f"/v3/kv/{path}", json.dumps(body), headers)
        response = self._connection.getresponse()
        data = response.read()
        if response.status != 200:
            raise OSError(f"etcd: {response.status} {data[:300]!r}")
        answer: dict[str, Any] = json.loads(data)
        return answer

    def zone(self, project: str) -> list[Pair]:
        """Return everything of a project."""
        answer = self._call("range", {"key": _text(b"/registry/"), "range_end": _text(b"/registry0")})
        pairs = [
            (base64.b64decode(one["key"]), base64.b64decode(one["value"])) for one in answer.get("kvs") or ()
        ]
        return [
            pair
            for pair in pairs
            if project.encode() in pair[0] and not pair[0].startswith(b"/registry/events/")
        ]

    def put(self, pairs: Iterable[Pair]) -> int:
        """Write all in one transaction, and return its revision."""
        puts = [{"requestPut": {"key": _text(key), "value": _text(value)}} for key, value in pairs]
        return int(self._call("txn", {"success": puts})["header"]["revision"])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def main() -> None:
    """Do what the file says."""
    job = Planting(**json.loads(Path(sys.argv[1]).read_text()))
    zone = _Etcd().zone(job.pattern[0])

    def work(mine: Sequence[list[str]]) -> int:
        etcd, revision = _Etcd(), 0
        for copy in mine:
            for together in transactions(copied(zone, job.pattern, copy, lambda: str(uuid.uuid4()))):
                revision = etcd.put(together)
        return revision

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        shares = [job.copies[number::_CONNECTIONS] for number in range(_CONNECTIONS)]
        sys.stdout.write(f"{max(pool.map(work, shares))}\n")


if __name__ == "__main__":
    main()
