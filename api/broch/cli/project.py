"""`broch project`: projects and their members."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from broch.cli import lookup, output, project_resource
from broch.cli.calls import Call, command, confirm, group
from broch.cli.client import segment
from broch.cli.failure import Failure

app = group("Projects and their members.", "broch project list", "broch project show tumour-texture")
app.add_typer(project_resource.app, name="resource")

Project = Annotated[str, typer.Argument(metavar="PROJECT", help="Slug, id, or part of an id.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most, newest first.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_Row = Mapping[str, Any]


class BrowserPolicy(StrEnum):
    """What is done about a browser that lacks the wall's last layer."""

    ALLOW = "allow"
    WARN = "warn"
    REFUSE = "refuse"


class Role(StrEnum):
    """What a member is to a project."""

    LEAD = "lead"
    RESEARCHER = "researcher"


@command(app, "list", "broch project list", "broch project list --json")
def list_projects(call: Call, limit: Limit = 50) -> None:
    """List your projects; an administrator sees all."""
    columns: Mapping[str, Callable[[_Row], object]] = {
        "SLUG": lambda row: row["slug"],
        "NAME": lambda row: row["name"],
        "STATUS": lambda row: row["status"],
        "FIRST DAY": lambda row: row["starts_on"],
        "LAST DAY": lambda row: row["ends_on"],
        "ID": lambda row: row["id"],
    }
    call.rows(call.api.pages("projects", limit=limit), columns, empty="You are in no project.")


@command(app, "show", "broch project show tumour-texture")
def show(call: Call, project: Project) -> None:
    """Show a project with its members, data and permissions to export."""
    found = call.api.get(_path(call, project))
    call.show(found, lambda: _detail(found))


@command(
    app,
    "create",
    "broch project create bone-age --name 'Bone age' --starts 2026-12-01 --ends 2027-11-30",
)
def create(
    call: Call,
    slug: Annotated[str, typer.Argument(help="Lower-case words joined by hyphens.")],
    name: Annotated[str, typer.Option(help="Its name.")],
    starts: Annotated[str, typer.Option(metavar="DATE", help="First day (UTC), such as 2026-12-01.")],
    ends: Annotated[str, typer.Option(metavar="DATE", help="Last day (UTC), included.")],
    purpose: Annotated[str, typer.Option(help="The question that it asks.")] = "",
) -> None:
    """Create a project. Work begins when it is activated."""
    body = {"slug": slug, "name": name, "purpose": purpose, "starts_on": starts, "ends_on": ends}
    made = call.api.post("projects", body)
    call.done(made, f"Created {made['slug']}. Let work begin: broch project activate {made['slug']}")


@command(app, "activate", "broch project activate bone-age")
def activate(call: Call, project: Project) -> None:
    """Let work begin in a planned project."""
    moved = call.api.post(_path(call, project, "activate"))
    call.done(moved, f"{moved['slug']} is {moved['status']}.")


@command(app, "freeze", "broch project freeze bone-age")
def freeze(call: Call, project: Project) -> None:
    """Stop everything in a project at once: workspaces, downloads, releases."""
    moved = call.api.post(_path(call, project, "freeze"))
    call.done(moved, f"{moved['slug']} is {moved['status']}. Undo: broch project thaw {moved['slug']}")


@command(app, "thaw", "broch project thaw bone-age")
def thaw(call: Call, project: Project) -> None:
    """Let work go on in a frozen project."""
    moved = call.api.post(_path(call, project, "thaw"))
    call.done(moved, f"{moved['slug']} is {moved['status']}.")


@command(app, "end", "broch project end bone-age")
def end(call: Call, project: Project, yes: Yes = False) -> None:
    """End a project for good: its workspaces stop, and nobody works in it any more."""
    path = _path(call, project)
    if not yes:
        found = call.api.get(path)
        confirm(f"End '{found['name']}' for good? This cannot be undone.")
    moved = call.api.post(f"{path}/end")
    call.done(moved, f"{moved['slug']} is {moved['status']}.")


@command(app, "browser-policy", "broch project browser-policy bone-age refuse")
def browser_policy(
    call: Call,
    project: Project,
    policy: Annotated[
        BrowserPolicy, typer.Argument(help="For browsers that do not enforce Connection-Allowlist.")
    ],
) -> None:
    """Say what browsers without Connection-Allowlist are told; `refuse` stops the workspaces that are open."""
    changed = call.api.post(_path(call, project, "browser-policy"), {"policy": policy.value})
    call.done(
        changed, f"{changed['slug']}: browsers without Connection-Allowlist: {changed['browser_policy']}."
    )


@command(app, "idle-stop", "broch project idle-stop bone-age 120")
def idle_stop(
    call: Call,
    project: Project,
    minutes: Annotated[
        int | None, typer.Argument(help="Minutes without activity; 0: never; absent: as the platform says.")
    ] = None,
) -> None:
    """Say how long a workspace may be idle before it is stopped: those that start from now on."""
    changed = call.api.post(_path(call, project, "idle-stop"), {"minutes": minutes})
    call.done(changed, f"{changed['slug']}: idle workspaces are stopped {_idle(changed['idle_minutes'])}.")


class Sharing(StrEnum):
    """Whether there may be a shared workspace."""

    ALLOW = "allow"
    REFUSE = "refuse"


@command(app, "shared-workspace", "broch project shared-workspace bone-age allow")
def shared_workspace(
    call: Call,
    project: Project,
    sharing: Annotated[Sharing, typer.Argument(help="`refuse` also stops the one that runs.")],
    yes: Yes = False,
) -> None:
    """Say whether members may work in one workspace together.

    What a cell did there is the project's act and nobody can tell whose; there is no door to the airlock in it.
    """
    path, allowed = _path(call, project, "shared-workspace"), sharing is Sharing.ALLOW
    if allowed and not yes:
        confirm(
            "In a shared workspace what a cell did is the project's act, and nobody can tell whose. Allow it?"
        )
    changed = call.api.post(path, {"allowed": allowed})
    call.done(
        changed,
        f"{changed['slug']}: a shared workspace is {'allowed' if changed['shared_workspace'] else 'not allowed'}.",
    )


@command(app, "add-member", "broch project add-member bone-age ada --role lead")
def add_member(
    call: Call,
    project: Project,
    handle: Annotated[str, typer.Argument(help="Who.")],
    role: Annotated[Role, typer.Option(help="As what.")] = Role.RESEARCHER,
    last_day: Annotated[
        str | None, typer.Option(metavar="DATE", help="Ends by itself after this day.")
    ] = None,
) -> None:
    """Make somebody a member. A reviewer who becomes one may never again review this project's requests."""
    body = {"handle": handle, "role": role.value, "last_day": last_day}
    member = call.api.post(_path(call, project, "members"), body)
    call.done(member, f"{member['person']['display_name']} is a {member['role']} of {project} now.")


@command(app, "remove-member", "broch project remove-member bone-age ada")
def remove_member(call: Call, project: Project, handle: Annotated[str, typer.Argument(help="Who.")]) -> None:
    """End a membership now. It stays in the history."""
    path = _path(call, project, "members")
    present = [row for row in call.api.get(path) if row["present"] and row["person"]["handle"] == handle]
    if not present:
        raise Failure(f"'{handle}' is no member of {project}.", f"See who is: broch project show {project}")
    member = call.api.delete(f"{path}/{segment(present[0]['id'])}")
    call.done(member, f"{member['person']['display_name']} is no member of {project} any more.")


def _idle(minutes: int | None) -> str:
    if minutes is None:
        return "as the platform says"
    return f"after {minutes} minutes" if minutes else "never"


def _path(call: Call, project: str, *more: str) -> str:
    return "/".join(["projects", segment(lookup.project(call.api, project)), *more])


def _detail(found: Mapping[str, Any]) -> None:
    output.details(
        {
            "name": found["name"],
            "slug": found["slug"],
            "id": found["id"],
            "status": found["status"],
            "from": f"{found['starts_on']} to {found['ends_on']} (UTC, both included)",
            "purpose": found["purpose"] or "-",
            "browsers without allow-list": found["browser_policy"],
            "idle workspaces are stopped": _idle(found["idle_minutes"]),
            "shared workspace": "allowed" if found["shared_workspace"] else "not allowed",
        }
    )
    output.heading("Members")
    output.table(
        ["PERSON", "HANDLE", "ROLE", "SINCE", "UNTIL", "NOW"],
        [
            [
                row["person"]["display_name"],
                row["person"]["handle"],
                row["role"],
                output.when(row["since"]),
                output.when(row["until"]),
                row["present"],
            ]
            for row in found["members"]
        ],
        empty="Nobody yet.",
    )
    output.heading("Data")
    output.table(
        ["DATASET", "VERSION", "KIND", "UNTIL", "HOLDS", "GRANT"],
        [
            [r["dataset_slug"], r["version_number"], r["kind"], r["until"], r["holds"], r["id"]]
            for r in found["grants"]
        ],
        empty="No data are granted.",
    )
    output.heading("May submit results")
    output.table(
        ["PERSON", "FROM DATASET", "GIVEN", "WITHDRAWN"],
        [
            [
                row["person"]["display_name"],
                row["dataset_title"],
                output.when(row["given_at"]),
                output.when(row["withdrawn_at"]),
            ]
            for row in found["export_permissions"]
        ],
        empty="Nobody.",
    )
