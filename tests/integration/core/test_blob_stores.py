"""Blobs in a folder and in S3 (moto's server on loopback) keep to one contract; S3 says so when bytes are not as hashed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from broch_core.blobs import BlobClass, Blobs, FolderBlobs
from broch_core.blobs_s3 import S3Blobs
from broch_core.errors import Unavailable
from support.blob_contract import CONTRACT, DATA, PROJECT, SHA256, put

BUCKET = "broch-airlock"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"),
                        ("AWS_DEFAULT_REGION", "us-east-1")):  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket=BUCKET)
    yield BUCKET
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def in_s3(server: str, bucket: str, tmp_path: Path) -> S3Blobs:
    return S3Blobs(bucket, "tre/", tmp_path / "scratch", endpoint=server)


@pytest.fixture(params=["folder", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "s3":
        return request.getfixturevalue("in_s3")
    return FolderBlobs(tmp_path / "blobs")


@pytest.mark.parametrize("holds", CONTRACT, ids=lambda check: check.__name__)
def test_a_store_of_blobs(blobs: Blobs, holds: Callable[[Blobs], None]):
    holds(blobs)


def test_altered_bytes_are_not_shown_to_anybody(in_s3: S3Blobs, server: str):
    put(in_s3)
    with in_s3.local(PROJECT, BlobClass.DRAFT, SHA256) as path:
        assert path.read_bytes() == DATA
    key = f"tre/draft/{PROJECT}/{SHA256[:2]}/{SHA256}"
    boto3.client("s3", endpoint_url=server).put_object(Bucket=BUCKET, Key=key, Body=DATA[:-1] + b"!")
    with pytest.raises(Unavailable, match="other bytes"), in_s3.local(PROJECT, BlobClass.DRAFT, SHA256):
        pass
    assert list(in_s3.temporary.iterdir()) == []


def test_a_store_that_is_away_or_has_no_bucket_says_so(in_s3: S3Blobs, bucket: str, tmp_path: Path):
    in_s3.check()
    nowhere = S3Blobs(bucket, "", tmp_path / "other", endpoint="http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="does not answer"):
        nowhere.exists(PROJECT, BlobClass.DRAFT, SHA256)


def test_a_missing_bucket_is_named(in_s3: S3Blobs, server: str, tmp_path: Path):
    in_s3.check()
    with pytest.raises(Unavailable, match="no-such-bucket"):
        S3Blobs("no-such-bucket", "", tmp_path / "other", endpoint=server).check()
