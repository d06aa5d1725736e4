"""What the API says about a file that has come in."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TakenFile(BaseModel):
    """A file of a request, as taken in."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(examples=["01JD3W7Z8Q5T9XK2M4N6P8R0SV"])
    name: str = Field(examples=["analysis.py"])
    size: int = Field(description="Bytes.", examples=[1834])
    sha256: str = Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])
