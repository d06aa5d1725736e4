"""Pages of lists: keyset pagination by ULID, newest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

from broch_core.ids import Id

T = TypeVar("T")
R = TypeVar("R")

PAGE = 50

Before = Annotated[Id | None, Query(description="Show what is older than this id (from `next`).")]
Limit = Annotated[int, Query(ge=1, le=200, description="How many at most.")]


class Page(BaseModel, Generic[T]):
    """One page of a list, newest first."""

    items: list[T]
    next: str | None = None
    """Give it as `before` for the next page; absent on the last one."""


def page_of(rows: Sequence[R], limit: int, view: Callable[[R], T], key: Callable[[R], str]) -> Page[T]:
    """Make a page from up to `limit + 1` rows: the one too many tells that there is a next page."""
    shown = rows[:limit]
    more = len(rows) > limit
    return Page(items=[view(row) for row in shown], next=key(shown[-1]) if more and shown else None)
