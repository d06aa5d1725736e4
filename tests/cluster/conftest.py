"""One cluster for all tests of this folder, what lies beside it, and proof that it enforces what it is asked."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Playwright

from broch.dev import images, preparation
from support.cluster import python_image
from support.cluster.arranging import arranged
from support.cluster.authority import Authority
from support.cluster.bringing_up import any_cluster
from support.cluster.browsing import Desk, keep_picture, running_desk
from support.cluster.cluster import Cluster
from support.cluster.database import Databases, running_databases
from support.cluster.objects import Objects, running_objects
from support.cluster.outside import inside_targets, world_outside
from support.cluster.places import Place
from support.cluster.registry import Registry, running_registry
from support.cluster.release import Release, installed
from support.cluster.selfcheck import enforcement
from support.cluster.targets import Target
from support.keycloak import Keycloak
from support.keycloak import keycloak as running_keycloak

SECONDS = 900
"""Longest single test, with the fixtures of the session that it happens to be the first to ask for."""

KEYCLOAK_PORT = 8543
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests of this folder the time that starting a cluster, its images and its databases takes."""
    here = Path(__file__).parent
    mine = [item for item in items if here in item.path.parents]
    for number, item in enumerate(mine):
        if item.get_closest_marker("timeout") is None or not number:
            waits = 0 if number else preparation.SECONDS
            item.add_marker(pytest.mark.timeout(SECONDS + waits), append=False)


@pytest.fixture(scope="session", autouse=True)
def prepared() -> None:
    """Wait for the programs and images that the cluster is made of."""
    if wrong := preparation.wait_for("cluster"):
        pytest.fail(f"layer cluster did not run: {wrong}", pytrace=False)


@pytest.fixture(scope="session")
def cluster(prepared: None) -> Iterator[Cluster]:
    del prepared
    with any_cluster() as running:
        yield running


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="session")
def python(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the reference of an image with a bare Python, for probes and listeners."""
    root = python_image.make(tmp_path_factory.mktemp("python-image") / "root")
    return cluster.load_image("python", root)


@pytest.fixture(scope="session")
def databases(cluster: Cluster, authority: Authority) -> Iterator[Databases]:
    with running_databases(_beside(cluster), authority) as running:
        yield running


@pytest.fixture(scope="session")
def objects(
    cluster: Cluster, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Objects]:
    folder = tmp_path_factory.mktemp("objects")
    with running_objects(_beside(cluster), authority, folder, cluster.programs) as running:
        yield running


@pytest.fixture(scope="session")
def keycloak(
    cluster: Cluster, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Keycloak]:
    """Run the provider of identities beside the cluster; its realm is for `set_up` and `add_account` to make."""
    place = _beside(cluster)
    folder = tmp_path_factory.mktemp("keycloak")
    files = authority.issue("keycloak.outside", addresses=[place.address]).write(folder / "tls")
    with running_keycloak(
        folder=folder,
        host=place.address,
        port=KEYCLOAK_PORT,
        certificate=files.certificate,
        key=files.key,
        authority=files.authority,
        prefix=(*place.enter, "setpriv", "--pdeathsig", "KILL", "--"),
        listen=place.address,
    ) as server:
        yield server


@pytest.fixture(scope="session")
def image(cluster: Cluster) -> Callable[[str], str]:
    """Return a function that builds and loads one of the product's images and returns its reference by digest."""

    @functools.cache
    def load(name: str) -> str:
        built = images.build([name])[name]
        return cluster.load_image(name, built.layout)

    return load


@pytest.fixture(scope="session")
def registry(
    cluster: Cluster, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    """Run the registry of packages beside the cluster; what it has is for `publish` to say."""
    with running_registry(_beside(cluster), authority, tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def release(
    cluster: Cluster,
    authority: Authority,
    databases: Databases,
    objects: Objects,
    keycloak: Keycloak,
    registry: Registry,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Release]:
    """Return Broch, installed by its chart."""
    folder = tmp_path_factory.mktemp("release")
    with installed(cluster, authority, databases.fresh(), objects, keycloak, registry, folder) as running:
        yield running


@pytest.fixture(scope="session")
def desk(playwright: Playwright, release: Release) -> Iterator[Desk]:
    """Return where people sit down and sign in."""
    with running_desk(playwright, release) as sitting:
        yield sitting


@pytest.fixture(scope="session")
def texture(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the id of Ada's project, its data granted and its notebook brought in."""
    return arranged(desk, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def picture() -> Callable[[Page, str], None]:
    """Return a function that keeps a screenshot for the documents, when asked to (BROCH_PICTURES=1)."""
    return lambda page, name: keep_picture(page, PICTURES, name)


def _beside(cluster: Cluster) -> Place:
    if not cluster.place.address:
        pytest.fail("BROCH_TEST_ADDRESS does not say at which address pods reach this machine")
    return cluster.place


@pytest.fixture(scope="session")
def outside(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, ...]]:
    """Return what a zone must not reach outside the cluster; somebody listens at each."""
    with world_outside(cluster, tmp_path_factory.mktemp("outside")) as targets:
        yield targets


@pytest.fixture(scope="session")
def inside(cluster: Cluster) -> tuple[Target, ...]:
    """Return what a zone must not reach of the cluster itself."""
    return inside_targets(cluster)


@pytest.fixture(scope="session")
def gpus(cluster: Cluster) -> Iterator[str]:
    """Let the node offer two devices `nvidia.com/gpu` that are not there; return the resource's name.

    Scheduling and quota are real with them, devices are not. A node that has real ones keeps them.
    """
    name = "nvidia.com/gpu"
    if name in cluster.get("node", cluster.node.name)["status"]["capacity"]:
        yield name
        return

    def patch(operation: str) -> None:
        paths = [f"/status/{part}/nvidia.com~1gpu" for part in ("capacity", "allocatable")]
        changes = json.dumps([{"op": operation, "path": path, "value": "2"} for path in paths])
        words = [
            "patch",
            "node",
            cluster.node.name,
            "--subresource=status",
            "--type=json",
            "--patch",
            changes,
        ]
        cluster.kubectl(*words)

    patch("add")
    yield name
    patch("remove")


@pytest.fixture(scope="session")
def enforced(cluster: Cluster, python: str) -> float:
    """Fail, with the reason, where the cluster's CNI does not enforce policies; return the seconds it took to.

    A cluster that accepts a NetworkPolicy and ignores it looks just like one that obeys, until a packet is sent.
    """
    return enforcement(cluster, python)
