"""`broch keycloak setup` against a real Keycloak: once, again, and after somebody changed things by hand."""

from __future__ import annotations

import secrets
import subprocess
import sys

import pytest

from broch.keycloak.desired import FLOW, SECOND
from support.keycloak import add_account
from support.oidc import becomes

SECRET = secrets.token_hex(32)


@pytest.fixture(scope="module")
def files(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("setup")
    (folder / "client").write_text(SECRET)
    (folder / "admin").write_text(provider.password)
    for name in ("client", "admin"):
        (folder / name).chmod(0o600)
    return folder


def setup(provider, files, *more: str, realm: str = "second", broch: str = "https://tre.test"):
    command = [
        sys.executable, "-m", "broch.cli.main", "keycloak", "setup", "--url", provider.origin, "--broch", broch,
        "--client-secret", str(files / "client"), "--admin-password", str(files / "admin"),
        "--ca", str(provider.authority), "--realm", realm, *more,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def made(provider, files):
    done = setup(provider, files)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_first_run_says_what_it_made_and_what_broch_needs(made, provider):
    for word in ("realm second: made", "group broch-admins: made", "client broch: made", "auth-otp-form"):
        assert word in made
    assert f"BROCH_OIDC_ISSUER={provider.issuer('second')}" in made
    assert SECRET not in made
    assert provider.password not in made


def test_the_second_run_changes_nothing(made, provider, files):
    done = setup(provider, files)
    assert "Everything was as it should be." in done.stdout


def test_what_was_loosened_by_hand_is_put_right_and_said(made, provider, files):
    admin = provider.admin("second")
    client = admin.get_client_id("broch")
    person = add_account(admin, "stays", groups=["broch-stewards"])
    admin.update_client(
        client,
        {
            **admin.get_client(client),
            "directAccessGrantsEnabled": True,
            "implicitFlowEnabled": True,
            "redirectUris": ["https://tre.test/*"],
            "attributes": {"pkce.code.challenge.method": ""},
        },
    )
    admin.update_realm("second", {"bruteForceProtected": False, "browserFlow": "browser"})
    loose = next(
        one for one in admin.get_authentication_flow_executions(FLOW) if one["displayName"] == SECOND
    )
    admin.update_authentication_flow_executions({**loose, "requirement": "DISABLED"}, FLOW)
    said = setup(provider, files).stdout
    for word in (
        "directAccessGrantsEnabled",
        "implicitFlowEnabled",
        "redirectUris",
        "pkce.code.challenge.method",
        "bruteForceProtected",
        "browserFlow",
        f"{SECOND} is required",
    ):
        assert word in said
    now = admin.get_client(client)
    assert now["directAccessGrantsEnabled"] is now["implicitFlowEnabled"] is False
    assert now["redirectUris"] == ["https://tre.test/sign-in/callback"]
    assert now["attributes"]["pkce.code.challenge.method"] == "S256"
    assert admin.get_client_secrets(client)["value"] == SECRET
    assert admin.get_realm("second")["browserFlow"] == FLOW
    assert [group["name"] for group in admin.get_user_groups(person.id)] == ["broch-stewards"]
    assert len(admin.get_credentials(person.id)) == 2
    assert "Everything was as it should be." in setup(provider, files).stdout


def test_other_realms_are_left_alone(made, provider):
    master = provider.admin().get_realm("master")
    assert master["browserFlow"] == "browser"
    assert not any(group["name"].startswith("broch") for group in provider.admin("master").get_groups())


def test_signing_somebody_out_there_ends_their_session_in_broch(estate, files):
    account = estate.account()
    person = estate.person()
    person.sign_in(account)
    command = [
        sys.executable, "-m", "broch.cli.main", "keycloak", "sign-out", account.username,
        "--url", estate.provider.origin, "--admin-password", str(files / "admin"),
        "--ca", str(estate.provider.authority),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.startswith(f"1 sessions of {account.username} are ended at Keycloak")
    assert "broch people sign-out" in done.stdout
    assert becomes(lambda: not person.signed_in())
    command[5] = "nobody-of-this-name"
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert "Nobody in the realm" in refused.stderr


def test_a_secret_on_the_command_line_is_no_option(provider, files):
    done = setup(provider, files, "--admin-password-value", "x")
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("change", "says", "code"),
    [
        (lambda folder: (folder / "client").write_text("short"), "fewer than 32", 1),
        (lambda folder: (folder / "client").chmod(0o604), "Everybody can read", 1),
        (lambda folder: (folder / "client").unlink(), "cannot be read", 1),
        (lambda folder: (folder / "admin").write_text("wrong"), "does not let this administrator in", 1),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_changed(provider, tmp_path, change, says, code):
    for name, text in (("client", SECRET), ("admin", provider.password)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    change(tmp_path)
    done = setup(provider, tmp_path, realm="third")
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not any(realm["realm"] == "third" for realm in provider.admin().get_realms())


def test_a_keycloak_that_is_not_there_or_not_trusted_is_said_in_one_line(provider, files):
    command = [
        sys.executable, "-m", "broch.cli.main", "keycloak", "setup", "--broch", "https://tre.test",
        "--client-secret", str(files / "client"), "--admin-password", str(files / "admin"),
    ]  # fmt: skip
    for address in ("https://127.0.0.1:9", provider.origin):  # the second without --ca
        done = subprocess.run(
            [*command, "--url", address], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 3, done.stderr
        assert "No Keycloak answers" in done.stderr
    plain = subprocess.run(
        [*command, "--url", "http://127.0.0.1:9"], capture_output=True, text=True, check=False, timeout=60
    )
    assert "no https address" in plain.stderr
