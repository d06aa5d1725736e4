"""What passes through the door besides bytes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from broch_core.lifecycles import AirlockStatus
from broch_core.web.texts import Paragraphs, one_line


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewDraft(_Strict):
    """A draft of files that are to leave. A person confirms it outside; nothing here decides anything."""

    purpose: Annotated[str, AfterValidator(one_line), Field(max_length=300)] = ""
    description: Annotated[Paragraphs, Field(max_length=4000)] = ""


class DraftView(_Strict):
    """A request of this person in this project, as its workspace sees it."""

    id: str
    status: AirlockStatus
    direction: str
    purpose: str
    files: int
    created_at: datetime
    confirm_url: str = Field(
        description="Address of its page, for the person's browser outside the workspace."
    )


class ImportView(_Strict):
    """A file in `/imports`."""

    name: str
    size: int
    sha256: str
    placed_at: datetime


class ImportList(_Strict):
    """What lies in `/imports` of a project, by name."""

    items: list[ImportView]
