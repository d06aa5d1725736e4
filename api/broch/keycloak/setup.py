"""Bringing a Keycloak to what is desired, by its admin API. Again and again: what fits already is left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keycloak import KeycloakAdmin, KeycloakError

from broch.keycloak.desired import (
    BROWSER_FLOW,
    SCOPES,
    Json,
    Step,
    Wanted,
    client,
    groups,
    mappers,
    realm_settings,
)

__all__ = ["KeycloakError", "set_up"]

_MASKED = "**********"
"""What Keycloak shows of a value that it does not show."""


def set_up(admin: KeycloakAdmin, wanted: Wanted, secret: str) -> Iterator[str]:
    """Make realm, flow, groups and client as they must be; say each change.

    Args:
        admin: signed in, as somebody who may administer the realm (and make it, if it is not there).
        wanted: what is asked for.
        secret: of our client.

    Raises:
        KeycloakError: Keycloak says no.
    """
    if not any(found["realm"] == wanted.realm for found in admin.get_realms()):
        admin.create_realm({"realm": wanted.realm, "enabled": True, "sslRequired": "all"})
        yield f"realm {wanted.realm}: made"
    admin.change_current_realm(wanted.realm)
    yield from _flow(admin)
    yield from _realm(admin, wanted)
    yield from _groups(admin, wanted)
    yield from _client(admin, wanted, secret)


def _realm(admin: KeycloakAdmin, wanted: Wanted) -> Iterator[str]:
    settings = realm_settings()
    present = admin.get_realm(wanted.realm)
    if changed := _different(settings, present):
        admin.update_realm(wanted.realm, {name: settings[name] for name in changed})
        yield f"realm {wanted.realm}: {', '.join(changed)}"


def _flow(admin: KeycloakAdmin) -> Iterator[str]:
    aliases = {flow["alias"] for flow in admin.get_authentication_flows()}
    if BROWSER_FLOW.name not in aliases:
        admin.create_authentication_flow(
            {
                "alias": BROWSER_FLOW.name,
                "description": "Made by broch keycloak setup",
                "providerId": "basic-flow",
                "topLevel": True,
                "builtIn": False,
            }
        )
        yield f"flow {BROWSER_FLOW.name}: made"
    for step in BROWSER_FLOW.steps:
        yield from _step(admin, BROWSER_FLOW.name, step)


def _step(admin: KeycloakAdmin, parent: str, step: Step) -> Iterator[str]:
    found = _execution(admin, parent, step)
    if found is None:
        if step.steps:
            admin.create_authentication_flow_subflow(
                {
                    "alias": step.name,
                    "type": "basic-flow",
                    "provider": "registration-page-form",
                    "description": "",
                },
                parent,
            )
        else:
            admin.create_authentication_flow_execution({"provider": step.name}, parent)
        yield f"flow {parent}: {step.name}"
        found = _execution(admin, parent, step)
    assert found is not None  # noqa: S101 - it was made a moment ago
    if found["requirement"] != step.requirement:
        admin.update_authentication_flow_executions(
            {**found, "requirement": step.requirement}, BROWSER_FLOW.name
        )
        yield f"flow {parent}: {step.name} is {step.requirement.lower()}"
    if step.config is not None:
        yield from _configured(admin, parent, step, found)
    for inner in step.steps:
        yield from _step(admin, step.name, inner)


def _configured(admin: KeycloakAdmin, parent: str, step: Step, found: Json) -> Iterator[str]:
    config = dict(step.config or {})
    kept = found.get("authenticationConfig")
    if kept is None:
        alias = f"{parent} {step.name}"
        admin.create_execution_config(found["id"], {"alias": alias, "config": config})
        yield f"flow {parent}: {step.name} configured"
        return
    present = admin.get_authenticator_config(kept)
    had = present.get("config", {})
    if changed := _different(config, had):
        admin.update_authenticator_config({**present, "config": config}, kept)
        if any(had.get(name) != _MASKED for name in changed):  # else it says nothing of what it was
            yield f"flow {parent}: {step.name} configured anew"


def _execution(admin: KeycloakAdmin, parent: str, step: Step) -> Json | None:
    listed: list[Json] = admin.get_authentication_flow_executions(parent)
    for one in listed:
        if one["level"] == 0 and step.name == (
            one.get("displayName") if step.steps else one.get("providerId")
        ):
            return one
    return None


def _groups(admin: KeycloakAdmin, wanted: Wanted) -> Iterator[str]:
    present = {group["name"] for group in admin.get_groups()}
    for name in groups(wanted):
        if name not in present:
            admin.create_group({"name": name})
            yield f"group {name}: made"


def _client(admin: KeycloakAdmin, wanted: Wanted, secret: str) -> Iterator[str]:
    desired = client(wanted, secret)
    known = admin.get_client_id(wanted.client_id)
    if known is None:
        known = admin.create_client(desired)
        yield f"client {wanted.client_id}: made"
    else:
        present = admin.get_client(known)
        if changed := _different(desired, present):
            admin.update_client(
                known, {**present, **desired, "attributes": present["attributes"] | desired["attributes"]}
            )
            yield f"client {wanted.client_id}: {', '.join(changed)}"
    yield from _scopes(admin, known, wanted.client_id)
    yield from _mappers(admin, known, wanted.client_id)


def _scopes(admin: KeycloakAdmin, known: str, name: str) -> Iterator[str]:
    all_scopes = {scope["name"]: scope["id"] for scope in admin.get_client_scopes()}
    given = {scope["name"]: scope["id"] for scope in admin.get_client_default_client_scopes(known)}
    for scope in admin.get_client_optional_client_scopes(known):
        admin.delete_client_optional_client_scope(known, scope["id"])
        yield f"client {name}: scope {scope['name']} taken away"
    for scope in sorted(given.keys() - set(SCOPES)):
        admin.delete_client_default_client_scope(known, given[scope])
        yield f"client {name}: scope {scope} taken away"
    for scope in sorted(set(SCOPES) - given.keys()):
        payload = {"realm": admin.get_current_realm(), "client": known, "clientScopeId": all_scopes[scope]}
        admin.add_client_default_client_scope(known, all_scopes[scope], payload)
        yield f"client {name}: scope {scope}"


def _mappers(admin: KeycloakAdmin, known: str, name: str) -> Iterator[str]:
    present = {mapper["name"]: mapper for mapper in admin.get_mappers_from_client(known)}
    for mapper in mappers():
        had = present.get(mapper["name"])
        if had is None:
            admin.add_mapper_to_client(known, mapper)
            yield f"client {name}: mapper {mapper['name']}"
        elif _different(mapper, had):
            admin.update_client_mapper(known, had["id"], {**had, **mapper})
            yield f"client {name}: mapper {mapper['name']} changed"


def _different(desired: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Return the names of what is not as desired; maps are compared by what is desired of them."""
    found = []
    for name, value in desired.items():
        had = present.get(name)
        if isinstance(value, dict):
            found += [f"{name}.{inner}" for inner in _different(value, had if isinstance(had, dict) else {})]
        elif isinstance(value, list):
            found += [name] if sorted(value) != sorted(had or []) else []
        elif had != value:
            found.append(name)
    return found
