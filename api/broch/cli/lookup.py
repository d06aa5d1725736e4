"""Finding things by what people type: an id, its beginning or end where that is enough, a slug, a file name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from broch.cli.client import Api, segment
from broch.cli.failure import Failure, Misused

_ID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_SLUG = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_SHORTEST = 4
MOST = 2000
"""How many entries of a list are searched for a shortened id."""


def is_id(text: str) -> bool:
    """Tell whether a text is a whole id (a ULID)."""
    return _ID.fullmatch(text) is not None


def is_slug(text: str) -> bool:
    """Tell whether a text can be a slug."""
    return _SLUG.fullmatch(text) is not None


def pick(what: str, text: str, items: Sequence[Mapping[str, Any]], *, key: str = "id") -> str:
    """Return the id of the only entry whose id begins or ends with `text`.

    Ids made at about the same time begin alike: their ends tell them apart.

    Raises:
        Failure: none or several fit.
        Misused: the text is too short.
    """
    wanted = text.upper()
    if len(wanted) < _SHORTEST:
        raise Misused(
            f"'{text}' is too short for the id of {what}.", f"Give at least {_SHORTEST} characters."
        )
    found = sorted(
        {
            str(item[key])
            for item in items
            if str(item[key]).startswith(wanted) or str(item[key]).endswith(wanted)
        }
    )
    if not found:
        raise Failure(f"There is no {what} '{text}' that you may see.")
    if len(found) > 1:
        raise Failure(f"'{text}' fits {len(found)} ids: {', '.join(found[:5])}.", "Give more characters.")
    return found[0]


def _by_slug(api: Api, path: str, what: str, text: str) -> str:
    if is_id(text):
        return text
    if is_slug(text):
        items = api.get(path, slug=text)["items"]
        if items:
            return str(items[0]["id"])
        if len(text) < _SHORTEST:
            raise Failure(f"There is no {what} '{text}' that you may see.", f"List them: broch {what} list")
    try:
        return pick(what, text, api.pages(path, limit=MOST))
    except Failure as failure:
        raise type(failure)(failure.message, failure.remedy or f"List them: broch {what} list") from None


def project(api: Api, text: str) -> str:
    """Return the id of a project by id, slug or part of an id."""
    return _by_slug(api, "projects", "project", text)


def dataset(api: Api, text: str) -> str:
    """Return the id of a dataset by id, slug or part of an id."""
    return _by_slug(api, "datasets", "dataset", text)


def version(api: Api, text: str) -> dict[str, Any]:
    """Return a dataset version: `SLUG` for the newest one, `SLUG@NUMBER` for another, or its id.

    Raises:
        Failure: there is none.
    """
    if is_id(text):
        found: dict[str, Any] = api.get(f"dataset-versions/{segment(text)}")
        return found
    name, at, number = text.partition("@")
    if at and not number.isdecimal():
        raise Misused(f"'{text}' names no version.", "Give one such as wisconsin@2.")
    versions = api.get(f"datasets/{segment(dataset(api, name))}")["versions"]
    for item in versions:
        if not at or item["number"] == int(number):
            return dict(item)
    raise Failure(f"The dataset '{name}' has no version {number}." if at else f"'{name}' has no version yet.")


def airlock_request(api: Api, text: str) -> str:
    """Return the id of an airlock request by its id or part of it.

    Reviewers find by their queue what they have no list of.
    """
    if is_id(text):
        return text
    known = api.pages("airlock/requests", limit=MOST)
    if "reviewer" in api.get("sessions/current")["roles"]:
        known += review_queue(api, MOST)
    return pick("airlock request", text, known)


def review_queue(api: Api, limit: int) -> list[dict[str, Any]]:
    """Return what waits for the review of the person who is signed in, oldest first."""
    return api.pages("airlock/queue", limit=limit, cursor="after")


def file(files: Sequence[Mapping[str, Any]], text: str, *, name: str = "name") -> dict[str, Any]:
    """Return a file of a request by its name, or by its id or part of it.

    Raises:
        Failure: there is none.
    """
    for item in files:
        if item[name] == text:
            return dict(item)
    there = ", ".join(str(item[name]) for item in files[:8])
    try:
        found = pick("file", text, files)
    except Failure:
        raise Failure(f"The request has no file '{text}'.", f"It has: {there}." if there else None) from None
    return next(dict(item) for item in files if item["id"] == found)


def package(api: Api, text: str, **query: Any) -> str:
    """Return the id of an entry of the lists by `NAME` or `NAME@VERSION` (the newest that fits), or by its id.

    Raises:
        Failure: there is none.
    """
    if is_id(text):
        return text
    at = text.rfind("@", 1)  # names of npm may begin with one
    name, version = (text, "") if at < 0 else (text[:at], text[at + 1 :])
    for item in api.pages("packages", limit=MOST, q=name, **query):
        if item["name"].lower() == name.lower() and version in {"", item["version"]}:
            return str(item["id"])
    return pick("package", text, api.pages("packages", limit=MOST, **query))


def resource(api: Api, project_id: str, text: str) -> str:
    """Return the id of an outside address of a project by its name (the newest of it), or by its id or part of it."""
    items = api.pages(f"projects/{segment(project_id)}/resources", limit=MOST)
    for item in items:
        if item["slug"] == text:
            return str(item["id"])
    return pick("outside address", text, items)
