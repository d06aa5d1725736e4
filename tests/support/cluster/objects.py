"""S3 beside the cluster: versitygw on a folder, over TLS."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from support.cluster.authority import Authority
from support.cluster.places import Place, answers

PORT = 7070


@dataclass(frozen=True)
class Objects:
    """A running store with one bucket."""

    endpoint: str
    """https URL; the certificate is of the tests' authority."""
    region: str
    bucket: str
    access_key: str
    secret_key: str
    authority: Path
    """Certificate that clients on this machine trust."""

    def client(self) -> Any:
        """Return a boto3 client as the owner of the store."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            verify=str(self.authority),
            config=Config(s3={"addressing_style": "path"}),
        )


@contextmanager
def running_objects(place: Place, authority: Authority, folder: Path, programs: str) -> Iterator[Objects]:
    """Run the store at a place's address for the time of a `with` block.

    Args:
        place: where.
        authority: who issues its certificate.
        folder: for its files.
        programs: `PATH` on which versitygw is.
    """
    program = shutil.which("versitygw", path=programs)
    assert program, "versitygw is not on PATH: tests/cluster/testbed/testbed build makes it"
    files = authority.issue("objects.outside", addresses=[place.address]).write(folder / "tls")
    data = folder / "data"
    data.mkdir()
    store = Objects(
        endpoint=f"https://{place.address}:{PORT}",
        region="us-east-1",
        bucket="broch",
        access_key=secrets.token_hex(8),
        secret_key=secrets.token_urlsafe(24),
        authority=authority.write(folder / "authority.crt"),
    )
    words = [
        program,
        "--port",
        f"{place.address}:{PORT}",
        "--cert",
        files.certificate,
        "--key",
        files.key,
        "posix",
        data,
    ]
    environment = {"ROOT_ACCESS_KEY": store.access_key, "ROOT_SECRET_KEY": store.secret_key}
    with place.running(
        words, folder / "objects.log", environment=environment, ready=answers(place.address, PORT)
    ):
        store.client().create_bucket(Bucket=store.bucket)
        yield store
