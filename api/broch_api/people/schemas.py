"""What the API says of people and takes about them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from broch_core.actors import PlatformRole
from broch_core.ids import Id
from broch_core.tables.people import Person
from broch_core.web.texts import Line, Paragraphs, Slug

DisplayName = Annotated[Line, Field(max_length=120, examples=["Ada Lindqvist"])]


class PersonCreate(BaseModel):
    """Somebody new."""

    model_config = ConfigDict(extra="forbid")

    handle: Annotated[Slug, Field(description="Sign-in name; cannot be changed.", examples=["ada"])]
    display_name: DisplayName
    about: Annotated[
        Paragraphs,
        Field(max_length=300, description="One line for colleagues.", examples=["Researcher, radiomics."]),
    ] = ""
    roles: Annotated[frozenset[PlatformRole], Field(examples=[["reviewer"]])] = frozenset()


class SignOut(BaseModel):
    """Whom to sign out everywhere."""

    model_config = ConfigDict(extra="forbid")

    handle: Annotated[
        str, Field(min_length=1, max_length=100, description="Their sign-in name.", examples=["ruth"])
    ]


class SignedOut(BaseModel):
    """What was ended."""

    sessions: int = Field(description="How many sessions there were.")


class PersonRef(BaseModel):
    """Who somebody is, in short."""

    id: Id
    handle: str = Field(examples=["ada"])
    display_name: str = Field(examples=["Ada Lindqvist"])

    @classmethod
    def of(cls, person: Person) -> Self:
        """Make one from a row."""
        return cls(id=person.id, handle=person.handle, display_name=person.display_name)


class PersonView(PersonRef):
    """A person with platform roles."""

    about: str
    roles: list[PlatformRole]
    created_at: datetime
    disabled_at: datetime | None
