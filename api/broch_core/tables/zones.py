"""Zones on a cluster: what the controller last said of each, and what is on its way into `/imports`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Column
from sqlmodel import Field, SQLModel

from broch_core.clock import utc_now
from broch_core.ids import new_id
from broch_core.store.types import choice, moment


class ZonePhase(StrEnum):
    """How far the controller is with a zone."""

    MAKING = "making"
    READY = "ready"
    FAILED = "failed"
    ENDING = "ending"
    GONE = "gone"


class Zone(SQLModel, table=True):
    """The last word of the controller about one project's zone."""

    __tablename__ = "zone"

    project_id: str = Field(primary_key=True, foreign_key="project.id", max_length=26)
    phase: ZonePhase = choice(ZonePhase, default=ZonePhase.MAKING)
    digest: str = Field(default="", max_length=16)
    """Of the desired state that `phase` is about; another one is wanted meanwhile when it differs."""
    message: str = Field(default="", max_length=500)
    seen_at: datetime = moment(default_factory=utc_now)
    ready_at: datetime | None = moment(default=None)


class DeliveryOp(StrEnum):
    """What happens to a name in `/imports`."""

    PLACE = "place"
    REMOVE = "remove"


class ZoneDelivery(SQLModel, table=True):
    """Released bytes that the zone's importer puts into `/imports`, or takes out again."""

    __tablename__ = "zone_delivery"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    project_id: str = Field(foreign_key="project.id", max_length=26, index=True)
    op: DeliveryOp = choice(DeliveryOp)
    name: str = Field(max_length=255)
    sha256: str = Field(max_length=64)
    size: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    created_at: datetime = moment(default_factory=utc_now)
    done_at: datetime | None = moment(default=None)
    failure: str | None = Field(default=None, max_length=500)
    """Why it can never be done."""
