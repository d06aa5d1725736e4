"""One Keycloak for all tests here, set up as `broch keycloak setup` does, and one control plane before it."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from keycloak import KeycloakAdmin

from broch.keycloak.desired import Wanted
from broch_api.signin.oidc.provider import OidcProvider
from broch_api.signin.oidc.settings import OidcSettings
from support.cluster.authority import Authority, Files
from support.hostile_provider import Provider
from support.keycloak import Account, Keycloak, add_account, keycloak
from support.oidc import HOST, ControlPlane, Person, served
from support.ports import free_port

SECRET = "a secret between Broch and Keycloak"
_SECONDS = 900
"""Longest single test with what it waits for: the first one may fetch, build and start Keycloak on a busy machine."""
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(_SECONDS))


@dataclass
class Estate:
    """The provider, its admin API for our realm, and Broch."""

    provider: Keycloak
    admin: KeycloakAdmin
    plane: ControlPlane
    changes: list[str]
    wanted: Wanted

    def person(self) -> Person:
        return Person(self.plane, self.provider.authority)

    def account(self, *groups: str, otp: bool = True, name: str | None = None) -> Account:
        """Add somebody new to the realm; codes work once, so tests share nobody."""
        return add_account(self.admin, f"someone{next(_numbers)}", groups=groups, otp=otp, name=name)

    def account_named(self, username: str) -> Account:
        return add_account(self.admin, username)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("tls")
    return Authority().issue("localhost", addresses=[HOST]).write(folder)


@pytest.fixture(scope="session")
def provider(certificates: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keycloak]:
    folder = tmp_path_factory.mktemp("keycloak")
    with keycloak(
        folder=folder,
        host="localhost",
        port=free_port(),
        certificate=certificates.certificate,
        key=certificates.key,
        authority=certificates.authority,
        listen=HOST,
    ) as server:
        yield server


@pytest.fixture(scope="session")
def estate(
    provider: Keycloak, certificates: Files, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Estate]:
    port = free_port()
    origin = f"https://{HOST}:{port}"
    wanted = Wanted("broch", "broch", origin, origin)
    changes = provider.set_up(wanted, SECRET)
    folder: Path = tmp_path_factory.mktemp("broch")
    given = {"oidc_issuer": provider.issuer(), "oidc_ca": provider.authority, "secret": SECRET}
    with served(folder / "state", port, certificates, **given) as plane:
        yield Estate(provider, provider.admin("broch"), plane, changes, wanted)


@pytest.fixture
def hostile(certificates: Files) -> Iterator[Provider]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    provider = Provider(context)
    yield provider
    provider.close()


@pytest.fixture
def us(hostile: Provider, certificates: Files) -> Iterator[OidcProvider]:
    asked = OidcProvider(
        OidcSettings(
            issuer=hostile.issuer,
            client_id="broch",
            secret="s",
            origin="https://tre.test",
            mfa=frozenset({"otp"}),
            ca=certificates.authority,
        )
    )
    yield asked
    asked.close()
