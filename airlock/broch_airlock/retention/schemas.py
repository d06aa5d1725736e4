"""What the API says about retention."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from broch_core.blobs import BlobClass


class RetentionView(BaseModel):
    """How long the bytes of a request are kept, or that they are gone."""

    model_config = ConfigDict(extra="forbid")

    storage_class: BlobClass = Field(
        description="As what they are kept; each class has a retention of its own."
    )
    deletes_at: datetime | None = Field(description="When they will be deleted, if nothing happens before.")
    deleted_at: datetime | None = Field(description="When they were; none of both: they are being deleted.")
    certified: bool = Field(description="There is a deletion certificate.")
