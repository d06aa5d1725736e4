"""A disk or share that fails says nothing of the bytes on it: no version is lost by that, and somebody is told."""

import errno
import os
from datetime import timedelta

import pytest

from broch.health import datasets_part
from broch_api.datasets import verify
from broch_api.datasets.folder import VersionFolders
from broch_api.datasets.verify import VersionVerifier
from broch_core.errors import Unavailable
from unit.governance.test_dataset_versions import sealed


@pytest.fixture
def verifier(gov):
    verifier = gov.service(VersionVerifier)
    while verifier.sweep():
        pass  # the world has a version of its own
    return verifier


def failing(monkeypatch, method, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(VersionFolders, method, fail)


@pytest.mark.parametrize("method", ["open", "files"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES, errno.ETIMEDOUT])
def test_what_cannot_be_read_now_is_not_suspended_but_tried_again(
    gov,
    steward,
    version,
    verifier,
    monkeypatch,
    method,
    number,
):
    sealed(steward, version)
    assert datasets_part(verifier).ok
    with monkeypatch.context() as patch:
        failing(patch, method, number)
        answer = steward.post(f"/api/v1/dataset-versions/{version['id']}/verify")
        assert answer.status_code == 503
        assert os.strerror(number) in answer.json()["detail"]
        told = datasets_part(verifier)
        assert (told.ok, told.needed) == (False, False)
        assert version["id"] in told.why
    assert steward.get(f"/api/v1/dataset-versions/{version['id']}").json()["status"] == "sealed"
    assert version["id"] not in {record.subject_id for record in gov.records("version:suspended")}
    assert verifier.sweep() == 0, "not at once"
    monkeypatch.setattr(verify, "AGAIN_SECONDS", 0.0)
    assert verifier.sweep() == 1
    assert datasets_part(verifier).ok


def test_one_that_cannot_be_read_lets_the_others_go_first(gov, steward, version, verifier, monkeypatch):
    sealed(steward, version)
    first = version["id"]
    second = steward.post(f"/api/v1/datasets/{version['dataset_id']}/versions").json()
    sealed(steward, second)
    opened = VersionFolders.open

    def fail(self, version_id, path):
        if version_id == first:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(self, version_id, path)

    monkeypatch.setattr(VersionFolders, "open", fail)
    assert verifier.due(rest=timedelta(0))[0] == first
    assert [verifier.sweep(), verifier.sweep()] == [0, 1]
    assert list(verifier.unread()) == [first]
    assert second["id"] not in verifier.due()


def test_an_end_does_not_wait_for_a_large_version(steward, version, verifier):
    sealed(steward, version)
    verifier.end()
    with pytest.raises(Unavailable):
        verifier.verify_version(version["id"])
