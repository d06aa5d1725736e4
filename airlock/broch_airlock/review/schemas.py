"""What review takes and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from broch_airlock.tables import Direction, Opinion
from broch_core.ids import Id
from broch_core.web.texts import Paragraphs

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Field(examples=["9f86d081" * 8])]
"""SHA-256 in lower-case hexadecimal."""


class DecisionView(BaseModel):
    """One standing decision as its reader may see it. Reviewers are named by label only."""

    id: Id
    file_id: Id
    sha256: Sha256
    reviewer: str = Field(examples=["Reviewer A"], description="`You`, or an opaque label.")
    own: bool = Field(description="The reader decided this.")
    opinion: Opinion
    comment: str = Field(examples=["Cell counts below 10 in rows 4 and 7."])
    at: datetime
    current: bool = Field(description="It is about the present bytes and counts in the present turn.")


class DecisionNew(BaseModel):
    """A reviewer's decision on one file, with the bytes that it is about."""

    model_config = ConfigDict(extra="forbid")

    opinion: Opinion = Field(examples=["approve"])
    sha256: Sha256 = Field(description="What you looked at. 409 if the file has other bytes now.")
    turn: int = Field(ge=1, le=1_000_000, examples=[1], description="The turn of the request you looked at.")
    comment: Paragraphs = Field(
        default="", max_length=4000, examples=["Cell counts below 10 in rows 4 and 7."]
    )

    @model_validator(mode="after")
    def _reasons_are_given(self) -> Self:
        if self.opinion is not Opinion.APPROVE and not self.comment:
            raise ValueError("Say why in the comment: the author needs to know what to change.")
        return self


class ViewTicketNew(BaseModel):
    """What a reviewer wants to see."""

    model_config = ConfigDict(extra="forbid")

    sha256: Sha256
    turn: int = Field(ge=1, le=1_000_000, examples=[1])


class QueueEntry(BaseModel):
    """One request that waits for review, with the reader's own progress only."""

    id: Id
    project: str = Field(examples=["Tumour texture"])
    author: str = Field(examples=["Ruth Researcher"])
    direction: Direction
    purpose: str = Field(examples=["Table 2 of the paper"])
    submitted_at: datetime
    turn: int
    files: int = Field(examples=[2])
    decided: int = Field(examples=[1], description="On how many of them you have decided in this turn.")
    open: bool = Field(description="You may take part. False: two other reviewers have it in review already.")


class QueuePage(BaseModel):
    """A page of the queue, oldest first."""

    items: list[QueueEntry]
    next: Id | None = Field(default=None, description="Give it as `after` for the next page.")
