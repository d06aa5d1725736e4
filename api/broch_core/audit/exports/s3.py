"""An export in a bucket of S3, or of anything that speaks it."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from broch_core.audit.exports.places import LARGEST, ExportRefused, checked_size, same_or_refused

_EXISTS = frozenset({"PreconditionFailed", "412"})
_RACED = frozenset({"ConditionalRequestConflict", "409"})


class S3Place:
    """Objects under a prefix, each written only where none is (`If-None-Match: *`).

    Address, region and credentials are those of the AWS tools (`AWS_ENDPOINT_URL_S3`, `AWS_PROFILE`, ...). Give the
    account the right to put and get, not to delete, and the bucket versions or object lock.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        # A session of our own: the library's shared one remembers whose keys it saw first.
        import boto3  # noqa: PLC0415 - one machine needs none, and it takes long

        with _told():
            try:
                self._client: Any = boto3.Session().client(
                    "s3", config=Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard"})
                )
            except ValueError as error:  # an address that is none
                raise ExportRefused(f"The settings of the AWS tools cannot be used: {error}") from error

    def names(self, folder: str, *, after: str = "") -> list[str]:
        """Return the names in a folder."""
        start = f"{self._prefix}{folder}/"
        names: list[str] = []
        with _told():
            for page in self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=start, StartAfter=f"{start}{after}"
            ):
                names += [item["Key"].removeprefix(start) for item in page.get("Contents", ())]
        return sorted(names)

    def read(self, name: str) -> bytes:
        """Return the bytes of an object."""
        with _told():
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"]
            data: bytes = body.read(LARGEST + 1)
        return checked_size(name, data)

    def add(self, name: str, data: bytes) -> None:
        """Add an object where none is."""
        with _told():
            try:
                self._client.put_object(
                    Bucket=self._bucket, Key=self._prefix + name, Body=data, IfNoneMatch="*"
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in _EXISTS | _RACED:
                    raise
                same_or_refused(name, self.read(name), data)

    def finish(self, says: str) -> None:
        """Do nothing: an object is durable when it is acknowledged."""


class _told:  # noqa: N801 - reads as a word where it stands
    """Says what went wrong with a bucket in one sentence."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, BotoCoreError | ClientError):
            raise ExportRefused(f"The bucket refused: {error}") from error
