"""What the two OpenAPI documents say of the API is complete, and what the API answers is what they say."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from support.counts import NIGHTLY, count
from support.surface import HOST, Surface

DOCUMENTS = ("/api/v1/openapi.json", "/api/v1/airlock/openapi.json")
ACTORS = ("author", "reviewer", "steward", "owner", "admin", "nobody")
EXAMPLES = count("answers that conform to OpenAPI, calls per operation", ci=4, nightly=300)
_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
_AWAY = ("/readyz",)
"""Answers 503 by right: hub and scanner are away in these tests."""


@schemathesis.serializer("application/offset+octet-stream")
def _part_of_upload(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, item[method])
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
    ]


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


@pytest.mark.parametrize("place", DOCUMENTS)
def test_every_operation_is_described(surface: Surface, place: str) -> None:
    document = surface.ask("GET", place).json()
    operations = _operations(document)
    assert len(operations) > 20
    for method, path, operation in operations:
        where = f"{method} {path}"
        assert operation.get("summary"), where
        assert operation.get("description"), where
        assert operation.get("tags"), where
        assert operation.get("x-broch-action"), where
        assert {"4XX", "5XX"} <= operation["responses"].keys(), where
        good = [code for code in operation["responses"] if code.startswith("2")]
        assert good, where
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body is not None:
            assert _has_example(document, body["schema"]), where
    identifiers = [operation["operationId"] for _, _, operation in operations]
    assert len(identifiers) == len(set(identifiers))


def _has_example(document: dict[str, Any], schema: dict[str, Any]) -> bool:
    """Tell whether each required field of a body shows what it takes: by an example, an enumeration or a constant."""
    body = _resolved(document, schema)
    for name in body.get("required", []):
        field = _resolved(document, body["properties"][name])
        if field.get("type") == "array":
            field = {**_resolved(document, field["items"]), **field}
        if field.get("type") == "object" or {"examples", "enum", "const", "properties"} & field.keys():
            continue
        return False
    return True


class _FromHost:
    """Lets every call come with the shell's own name, from this machine."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            kept = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope = {**scope, "headers": [(b"host", HOST.encode()), *kept], "client": ("127.0.0.1", 50000)}
        await self._app(scope, receive, send)


def _known_ids(surface: Surface) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for states in surface.things.values():
        for thing in states.values():
            for name, value in thing.items():
                if name.endswith("_id"):
                    found.setdefault(name, []).append(value)
    return found


@pytest.mark.timeout(3600 if NIGHTLY else 300)  # nightly, a document takes some minutes
@pytest.mark.parametrize("place", DOCUMENTS)
def test_answers_are_what_the_document_says(surface: Surface, place: str) -> None:
    schema = schemathesis.openapi.from_asgi(place, _FromHost(surface.shell))
    ids = _known_ids(surface)
    problems: dict[str, str] = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in _AWAY:
            continue

        @given(case=operation.as_strategy(), who=st.sampled_from(ACTORS), data=st.data())
        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        def conforms(case: Any, who: str, data: st.DataObject) -> None:
            for name in case.path_parameters or {}:
                if name in ids and data.draw(st.integers(0, 3)):
                    case.path_parameters[name] = data.draw(st.sampled_from(ids[name]))
            token = surface.visitors[who].bearer
            response = case.call(headers={"Authorization": f"Bearer {token}"} if token else {})
            case.validate_response(
                response,
                checks=[
                    not_a_server_error,
                    status_code_conformance,
                    content_type_conformance,
                    response_headers_conformance,
                    response_schema_conformance,
                ],
            )

        try:
            conforms()
        except BaseException as error:  # all operations are tried before any is judged
            if isinstance(error, KeyboardInterrupt):
                raise
            problems[operation.label] = str(error)[:1500] or repr(error)
    assert problems == {}, "\n\n".join(f"{label}\n{text}" for label, text in problems.items())
