"""What the API says of lists of packages and outside addresses, and takes about them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from broch_api.datasets.schemas import ProjectRef
from broch_api.people.schemas import PersonRef
from broch_core.ids import Id
from broch_core.lifecycles import AllowanceEvent, AllowanceStatus
from broch_core.tables.packages import Lookup
from broch_core.web.texts import Line, Paragraphs
from broch_workspaces.packages.spec import Ecosystem, PackageFile, Sha256, Slug

LONGEST_LOCK = 900_000
"""Characters of a lock file: a request of pages and API has a megabyte."""
MOST_AT_ONCE = 200

Why = Annotated[
    Paragraphs, Field(min_length=1, max_length=1000, examples=["For the survival curves of our paper."])
]
Reason = Annotated[Paragraphs, Field(min_length=1, max_length=1000, examples=["Nobody maintains it."])]
LicenceReason = Annotated[
    Paragraphs,
    Field(
        max_length=1000,
        description="Why a licence that is not on the policy's list may be used all the same.",
        examples=["Used on this machine alone, never passed on."],
    ),
]
ForProject = Annotated[Id | None, Field(description="Which project; left out: all projects.")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PackageAsk(_Body):
    """One version of one package is wanted."""

    project_id: ForProject = None
    ecosystem: Ecosystem
    name: Annotated[Line, Field(max_length=302, examples=["lifelines"])]
    version: Annotated[Line, Field(max_length=100, examples=["0.30.0"])]
    channel: Annotated[str, Field(max_length=64, examples=["conda-forge"], description="conda's.")] = ""
    why: Why
    licence_reason: LicenceReason = ""


class LockAsk(_Body):
    """A lock file to look at."""

    project_id: ForProject = None
    filename: Annotated[
        Line, Field(max_length=255, examples=["uv.lock"], description="Tells the format, by its last part.")
    ]
    content: Annotated[
        str, Field(min_length=1, max_length=LONGEST_LOCK, examples=["lifelines==0.30.0 --hash=sha256:..."])
    ]


class LockImport(LockAsk):
    """Everything in a lock file is wanted."""

    why: Why
    licence_reason: LicenceReason = ""


class Approval(_Body):
    """Entries that may be used."""

    ids: list[Id] = Field(min_length=1, max_length=MOST_AT_ONCE)
    licence_reason: LicenceReason = ""


class OneApproval(_Body):
    """This entry may be used."""

    licence_reason: LicenceReason = ""


class Refusal(_Body):
    """Entries that may not be used."""

    ids: list[Id] = Field(min_length=1, max_length=MOST_AT_ONCE)
    reason: Reason


class OneRefusal(_Body):
    """This entry may not be used, or no longer."""

    reason: Reason


class Again(_Body):
    """Whose failed lookups are tried again."""

    project_id: ForProject = None


class PackageView(BaseModel):
    """One version of one package on a list, or asked for, or what became of that."""

    id: Id
    project: ProjectRef | None = Field(description="Nothing: for all projects.")
    ecosystem: Ecosystem
    channel: str
    name: str = Field(examples=["lifelines"])
    version: str = Field(examples=["0.30.0"])
    licence: str = Field(description="As the registry says it; empty: it does not say, or was not asked yet.")
    licence_fits: bool = Field(description="Whether the platform's policy allows it without a reason.")
    status: AllowanceStatus
    lookup: Lookup
    problem: str | None = Field(description="What stands in the way, in words.")
    file_count: int
    total_bytes: int = Field(description="Bytes of all its files, as far as the registry says.")
    lock_sha256: str | None
    lock_name: str | None
    why: str
    asked_by: PersonRef
    asked_at: datetime
    licence_reason: str
    decided_by: PersonRef | None
    decided_at: datetime | None
    reason: str
    removed_by: PersonRef | None
    removed_at: datetime | None


class PackageDetail(PackageView):
    """An entry with its files."""

    files: list[PackageFile]
    near: list[str] = Field(description="Names on the list that it may be taken for.")
    possible: list[AllowanceEvent] = Field(description="What may happen to it next.")


class LookupView(BaseModel):
    """What the registry says of one version that nobody has asked for yet."""

    ecosystem: Ecosystem
    channel: str
    name: str
    version: str
    summary: str
    released_at: str
    licence: str
    licence_fits: bool
    files: list[PackageFile]
    listed: bool = Field(description="Whether it is on the list already, or asked for.")
    near: list[str] = Field(description="Names on the list that it may be taken for.")


class LockedView(BaseModel):
    """One version that a lock file asks for."""

    ecosystem: Ecosystem
    channel: str
    name: str
    version: str
    digests: int = Field(description="How many the lock file gives for its files.")
    line: int | None
    state: Literal["new", "asked", "allowed"]
    near: list[str] = Field(description="Names on the list that it may be taken for.")


class LockView(BaseModel):
    """What a lock file would bring onto the list."""

    sha256: Sha256
    kind: str | None = Field(description="Nothing: it is no format that is understood.")
    entries: list[LockedView]
    new: int = Field(description="How many of them are neither allowed nor asked for.")
    near: int = Field(description="How many new ones may be taken for another name on the list.")
    problems: list[str]


class LockTaken(BaseModel):
    """What came of a lock file: the registry is asked about each entry in the background."""

    sha256: Sha256
    added: int
    known: int = Field(description="How many were allowed or asked for before.")
    problems: list[str]


class LookupProgress(BaseModel):
    """How far the registry was asked about a project's entries, or about those of one lock file."""

    total: int
    done: int
    failed: int
    waiting: int


class Counted(BaseModel):
    """How many entries something was done to."""

    count: int


class ResourceAsk(_Body):
    """An address outside that a project wants to read."""

    slug: Annotated[
        Slug, Field(description="Its name in the zone: `/resources/<slug>`.", examples=["gene-table"])
    ]
    url: Annotated[
        str,
        Field(
            pattern=r"^https://[a-z0-9.-]{1,253}(:[0-9]{1,5})?/[\x21-\x7e]{0,1000}$",
            max_length=1300,
            description="https, with lower-case host and a path.",
            examples=["https://example.org/genes/2026.tsv"],
        ),
    ]
    sha256: Annotated[Sha256 | None, Field(description="Of its bytes, where they do not change.")] = None
    largest: Annotated[int, Field(gt=0, le=1 << 40, description="Bytes at most.", examples=[10_000_000])]
    why: Why


class ResourceView(BaseModel):
    """An outside address of a project, or asked for, or what became of that."""

    id: Id
    project: ProjectRef
    slug: str
    url: str
    sha256: str | None
    largest: int = Field(description="Bytes at most.")
    status: AllowanceStatus
    why: str
    asked_by: PersonRef
    asked_at: datetime
    decided_by: PersonRef | None
    decided_at: datetime | None
    reason: str
    removed_by: PersonRef | None
    removed_at: datetime | None


class Budget(_Body):
    """What the workspaces of a project may fetch together in a day."""

    bytes_a_day: Annotated[
        int | None,
        Field(
            gt=0, le=1 << 50, description="Bytes; nothing: the platform's usual.", examples=[1_000_000_000]
        ),
    ]


class UsedView(BaseModel):
    """Something that zones of a project fetched, or were refused."""

    ecosystem: Ecosystem | None = Field(description="Nothing: an outside address.")
    name: str
    version: str
    count: int
    bytes: int
    last_at: datetime
    near: list[str] = Field(description="Of a refused name: names on the list that may have been meant.")
    listed: bool = Field(description="Of a refused name: another version of it is on the list.")


class UseView(BaseModel):
    """What zones of a project fetched and were refused lately."""

    bytes_a_day: int = Field(description="What its workspaces may fetch together in a day.")
    fetched: list[UsedView]
    refused: list[UsedView]
