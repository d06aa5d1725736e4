"""What the picker shows and takes."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from broch_core.ids import Id
from broch_core.web.texts import Paragraphs, one_line

PATH_LONGEST = 4096
FILES_MOST = 200


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Area(StrEnum):
    """The two places of a zone that a person may choose from."""

    PROJECT = "project"
    HOME = "home"


def _relative(path: str) -> str:
    parts = path.split("/") if path else []
    if any(part in {"", ".", ".."} for part in parts) or "\0" in path:
        raise ValueError("A path is relative, without empty parts, '.' or '..'.")
    return path


ZonePath = Annotated[
    str,
    StringConstraints(max_length=PATH_LONGEST),
    AfterValidator(_relative),
    Field(examples=["results/table2.csv"]),
]
"""Path below an area; empty is the area itself."""


class ZoneFolder(_Strict):
    """A folder of the zone by its place."""

    area: Area = Area.PROJECT
    path: ZonePath = ""


class ZoneEntry(_Strict):
    """One thing in a folder of the zone."""

    name: str = Field(description="Safe to show: control and bidi characters are written out.")
    path: str = Field(description="Give it back to open or choose it.")
    is_folder: bool
    size: int = Field(description="Bytes; 0 for a folder.")
    modified_at: datetime | None = Field(description="As the writer of the file claims.")
    refusal: str | None = Field(description="Why a file with this name or size may not cross, if so.")


class ZoneListing(_Strict):
    """A folder of the zone."""

    project_id: str
    project_name: str
    area: Area
    path: str
    entries: list[ZoneEntry]
    left_out: int = Field(description="Links, devices and other things that cannot be chosen.")
    truncated: bool = Field(description="The folder has more than is shown.")


class Pick(_Strict):
    """Files of the zone for an egress draft."""

    project_id: Id
    area: Area
    paths: list[ZonePath] = Field(min_length=1, max_length=FILES_MOST)
    request_id: Id | None = None
    """An open request that the files go into; without it a new draft is made."""
    purpose: Annotated[str, AfterValidator(one_line), Field(max_length=300)] = ""
    description: Annotated[Paragraphs, Field(max_length=4000)] = ""
