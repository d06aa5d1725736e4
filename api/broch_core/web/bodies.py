"""JSON that comes in, read in one way only."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request
from starlette.exceptions import HTTPException


def parse_json(data: bytes) -> Any:
    """Return JSON that names each thing once.

    Of a name that comes twice, RFC 8259 (4) lets every reader take another value: what one part of a system checked
    is then not what another part does. Nobody decides by a request that can be read in two ways.

    Raises:
        HTTPException: 400, a name comes twice in one object.
        ValueError: it is no JSON.
        RecursionError: it is nested deeper than anything of ours.
    """
    return json.loads(data, object_pairs_hook=_once_each)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise HTTPException(400, "A name comes twice in one object of the JSON body.")
    return found


class StrictRequest(Request):
    """A request whose JSON body is read by `parse_json`."""

    async def json(self) -> Any:
        """Return the body, read as JSON."""
        return parse_json(await self.body())
