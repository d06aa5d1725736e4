"""Blobs in a real S3 server keep to the contract of blobs, by TLS, and bytes that change on the way are refused."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from broch_core.blobs import Blobs
from broch_core.blobs_s3 import S3Blobs
from support.blob_contract import CONTRACT, bytes_that_change_on_the_way_are_refused
from support.cluster.objects import Objects


@pytest.fixture
def blobs(objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Blobs:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", objects.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", objects.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", objects.region)
    return S3Blobs(objects.bucket, f"contract/{secrets.token_hex(4)}", tmp_path, endpoint=objects.endpoint,
                   ca=objects.authority)  # fmt: skip


@pytest.mark.parametrize(
    "holds", [*CONTRACT, bytes_that_change_on_the_way_are_refused], ids=lambda check: check.__name__
)
def test_a_store_of_blobs(blobs: S3Blobs, holds: Callable[[Blobs], None]):
    holds(blobs)
