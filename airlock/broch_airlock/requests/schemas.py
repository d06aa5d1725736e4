"""What the API takes and says about airlock requests."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from broch_airlock.retention.schemas import RetentionView
from broch_airlock.review.schemas import DecisionView
from broch_airlock.tables import Direction
from broch_core.ids import Id
from broch_core.lifecycles import AirlockStatus
from broch_core.web.texts import Line, Paragraphs, one_line

_DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
FILES_MOST = 1000
"""Files that a submission can list; the setting `airlock_request_files` is stricter."""

Purpose = Annotated[Line, Field(max_length=300, examples=["Table 2 of the manuscript"])]
Description = Annotated[
    Paragraphs,
    Field(max_length=4000, examples=["Counts by age group; groups under 10 are merged."]),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewRequest(_Strict):
    """A draft for files from outside."""

    project_id: Id
    direction: Literal[Direction.INGRESS] = Direction.INGRESS
    """Files leave a project from inside its workspaces only: by the door, or from the project's folder."""
    purpose: Annotated[str, AfterValidator(one_line), Field(max_length=300)] = ""
    description: Description = ""


class ConfirmedFile(_Strict):
    """A file as the person saw it when confirming."""

    file_id: Id
    sha256: str = Field(pattern="^[0-9a-f]{64}$", examples=[_DIGEST])


class Submission(_Strict):
    """The person confirms what is submitted, and why."""

    purpose: Purpose
    description: Description = ""
    files: list[ConfirmedFile] = Field(max_length=FILES_MOST)
    """Every file of the request with the digest that was shown; 409 when they are not those any more."""


class NewComment(_Strict):
    """Something to say about a request."""

    text: Annotated[Paragraphs, Field(min_length=1, max_length=4000, examples=["Which table is this for?"])]


class FindingView(_Strict):
    """What a check found."""

    verdict: str
    check: str
    rule: str
    where: str
    text: str


class CheckView(_Strict):
    """What one check said of a file's present bytes."""

    check: str = Field(examples=["malware"])
    engine: str
    verdict: str = Field(examples=["clean"])
    findings: list[FindingView]
    at: datetime


class FileView(_Strict):
    """One file of a request."""

    id: str
    name: str = Field(examples=["table2.csv"])
    size: int
    sha256: str = Field(examples=[_DIGEST])
    turn: int
    verdict: str | None = Field(
        description="The worst of its checks; `pending` while they run; absent before they have begun."
    )
    checks: list[CheckView]
    removable: bool = Field(description="It has not been submitted in any turn.")


class CommentView(_Strict):
    """A comment. People outside of the project are shown as what they are here, not by name."""

    by: str = Field(examples=["Ana Lopez", "A reviewer"])
    own: bool
    text: str
    turn: int
    at: datetime


class EventView(_Strict):
    """One move of the request along its life cycle."""

    status: AirlockStatus
    turn: int
    by: str | None
    at: datetime


class RequestSummary(_Strict):
    """A request in a list."""

    id: str
    project_id: str
    project_name: str
    direction: Direction
    status: AirlockStatus
    turn: int
    author: str
    own: bool
    purpose: str
    files: int
    size: int = Field(description="All files together, bytes.")
    created_at: datetime
    submitted_at: datetime | None


class RequestView(RequestSummary):
    """A request with everything that this reader may know."""

    description: str
    message: str | None
    check_deadline: datetime | None
    file_list: list[FileView]
    comments: list[CommentView]
    timeline: list[EventView]
    decisions: list[DecisionView] = Field(
        description="Decisions that this reader may see: nobody's before every reviewer's are in, but one's own."
    )
    may_submit: bool
    why_not_submit: str | None
    may_withdraw: bool
    editable: bool = Field(description="This reader may change the files now.")
    retention: RetentionView | None = Field(
        description="How long the files are kept; nothing while the request is under way."
    )
