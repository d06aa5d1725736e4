"""Forms of pages: read once, checked by the same schemas as the API, answered beside the fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from broch_core.errors import DomainError

M = TypeVar("M", bound=BaseModel)

_SENTENCES = {
    "missing": "Fill this in.",
    "string_too_short": "Fill this in.",
    "date_from_datetime_parsing": "Give a date, such as 2026-11-30.",
    "date_parsing": "Give a date, such as 2026-11-30.",
    "enum": "Choose one of the options.",
}


@dataclass(frozen=True)
class Fields:
    """The texts of a posted form."""

    values: Mapping[str, str]
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        """Return a field's text; absent ones are empty."""
        return self.values.get(name, "")

    def all(self, name: str) -> list[str]:
        """Return every value of a field that may come several times (checkboxes)."""
        return list(self.lists.get(name, ()))


async def _fields(request: Request) -> Fields:
    form = await request.form()
    lists: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            lists.setdefault(name, []).append(value)
    return Fields({name: values[-1] for name, values in lists.items()}, lists)


PostedForm = Annotated[Fields, Depends(_fields)]
"""The form of this request."""


@dataclass(frozen=True)
class SentFile:
    """A file that came with a form."""

    name: str
    data: bytes


async def _file(request: Request) -> SentFile | None:
    value = (await request.form()).get("file")
    if not isinstance(value, UploadFile) or not value.filename:
        return None  # a browser sends an empty one where nothing was chosen
    return SentFile(value.filename, await value.read())


PostedFile = Annotated[SentFile | None, Depends(_file)]
"""The file in the field `file` of this request's form, small as bodies are; large ones go by resumable uploads."""


@dataclass
class Checked(Generic[M]):
    """A form after its schema: the body, or what is wrong with which field."""

    body: M | None
    errors: dict[str, str]

    def refused(self, error: DomainError) -> dict[str, str]:
        """Put a domain error beside its field (fact `field`), or above all of them."""
        return {str(error.facts.get("field", "")): error.detail}


def check(schema: type[M], data: Mapping[str, Any]) -> Checked[M]:
    """Check a form's values by a schema; empty texts count as not given.

    Args:
        schema: what the API takes for the same verb.
        data: field name to value.
    """
    given = {name: value for name, value in data.items() if value != ""}
    try:
        return Checked(schema.model_validate(given), {})
    except ValidationError as error:
        return Checked(None, {_field(item): _sentence(item) for item in error.errors()})


def _field(item: Mapping[str, Any]) -> str:
    return str(item["loc"][0]) if item["loc"] else ""


def _sentence(item: Mapping[str, Any]) -> str:
    kind = str(item["type"])
    if kind == "string_too_long":
        return f"At most {item['ctx']['max_length']} characters."
    if kind == "value_error":
        return str(item["msg"]).removeprefix("Value error, ")
    return _SENTENCES.get(kind, str(item["msg"]))
