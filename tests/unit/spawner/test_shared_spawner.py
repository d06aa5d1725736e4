"""A shared workspace as JupyterHub routes it: under a name that no browser's host has, also after a restart of the hub."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from broch_airlock.door.keeper import NO_DOOR
from broch_spawner.inside import airlock
from broch_spawner.project_spawner import ProjectSpawner

NAME = "w" + "a" * 25
SPEC = f"{NAME}.hub.test/user/{NAME}/"
CLIENT = f"jupyterhub-user-{NAME}"


def made(monkeypatch: pytest.MonkeyPatch, *, shared: bool) -> tuple[ProjectSpawner, set[str]]:
    """Return a spawner that a hub found again, and the clients that need no page that asks."""
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)
    unasked: set[str] = set()
    user = SimpleNamespace(
        name=NAME,
        id=1,
        url=f"/user/{NAME}/",
        proxy_spec=SPEC,
        settings={"oauth_no_confirm_list": unasked},
    )
    spawner = ProjectSpawner(user=user, proxy_spec=SPEC, oauth_client_id=CLIENT)
    pod = {"pod": f"ws-{NAME}-0123456789abcdef", "zone": "zone-x", "uid": "u", "start": "0" * 16}
    spawner.load_state(pod | ({"shared": True} if shared else {}))
    return spawner, unasked


def test_it_is_found_again_under_the_name_that_only_stays_lead_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        spawner, unasked = made(monkeypatch, shared=True)
        assert spawner.proxy_spec == f"shared.{SPEC}"
        assert unasked == {CLIENT}
        kept = spawner.get_state()
        assert kept["shared"] is True
        spawner.load_state(kept)
        assert spawner.proxy_spec == f"shared.{SPEC}"

    asyncio.run(story())


def test_one_s_own_workspace_keeps_its_name_and_is_asked_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        spawner, unasked = made(monkeypatch, shared=False)
        assert spawner.proxy_spec == SPEC
        assert unasked == set()
        assert spawner.get_state()["shared"] is False

    asyncio.run(story())


@pytest.mark.parametrize(
    ("told", "says"),
    [({"BROCH_SHARED": "1"}, NO_DOOR), ({}, "This is not a workspace: there is no airlock token here.")],
)
def test_where_there_is_no_door_the_command_says_where_one_is(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    told: dict[str, str],
    says: str,
) -> None:
    monkeypatch.delenv("BROCH_SHARED", raising=False)
    for name, value in {"BROCH_DOOR_TOKEN_FILE": str(tmp_path / "none"), **told}.items():
        monkeypatch.setenv(name, value)
    results = tmp_path / "table.csv"
    results.write_text("a,b\n")
    for words in (["submit", str(results)], ["status"], ["imports"]):
        assert airlock.main(words) == 1
        assert capsys.readouterr().err == f"airlock: {says}\n"
