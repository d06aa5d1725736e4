"""One whole Broch for the tests that leave it well."""

import pytest

from support.running import client, running_broch


@pytest.fixture(scope="session")
def broch(tmp_path_factory):
    with running_broch(tmp_path_factory.mktemp("up")) as running:
        yield running


@pytest.fixture
def ada(broch):
    with client(broch, "ada") as signed_in:
        yield signed_in
