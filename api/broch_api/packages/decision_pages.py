"""Forms that decide about entries of the lists."""

from __future__ import annotations

from fastapi import Request, Response

from broch_api.packages.pages import Shell, detail_context
from broch_api.packages.routes import Desk, Lookups
from broch_api.packages.schemas import Approval, Refusal
from broch_core.actions import Action
from broch_core.errors import Conflict, Invalid
from broch_core.ids import Id
from broch_core.lifecycles import AllowanceStatus
from broch_core.rules import require
from broch_core.web.forms import Fields, PostedForm, check
from broch_core.web.guard import Who
from broch_core.web.routing import Kind, Router

router = Router("/packages", kind=Kind.PAGE)
_HERE = "/packages?status=proposed"


@router.post("/approve", action=Action.PACKAGE_APPROVE)
def approve(request: Request, form: PostedForm, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Allow the chosen entries."""
    given = {"ids": form.all("ids"), "licence_reason": form["licence_reason"]}
    checked = check(Approval, given)
    if checked.body is None:
        require(actor, Action.PACKAGE_APPROVE)
        return shell.redirect(_back(form), "Choose what to allow.", kind="warn")
    try:
        done = desk.approve(actor, checked.body.ids, checked.body.licence_reason)
    except Conflict as error:
        return shell.redirect(_back(form), f"{error.detail} {error.remedy or ''}".strip(), kind="warn")
    except Invalid as error:
        if len(checked.body.ids) > 1:
            return shell.redirect(_back(form), error.detail, kind="warn")
        context = detail_context(actor, desk, checked.body.ids[0]) | {"errors": checked.refused(error)}
        return shell.render(request, "packages/detail.html", context, status=422)
    text = f"{done[0].name} {done[0].version}" if len(done) == 1 else f"{len(done)} packages"
    return shell.redirect(_back(form), f"{text} may be installed from now on.")


@router.post("/decline", action=Action.PACKAGE_DECLINE)
def decline(form: PostedForm, actor: Who, desk: Desk, shell: Shell) -> Response:
    """End the chosen requests."""
    checked = check(Refusal, {"ids": form.all("ids"), "reason": form["reason"]})
    if checked.body is None:
        require(actor, Action.PACKAGE_DECLINE)
        text = "Choose what to decline." if "ids" in checked.errors else "Say why: who asked reads it."
        return shell.redirect(_back(form), text, kind="warn")
    try:
        done = desk.decline(actor, checked.body.ids, checked.body.reason)
    except Conflict as error:
        return shell.redirect(_back(form), f"{error.detail} {error.remedy or ''}".strip(), kind="warn")
    if len(done) > 1:
        return shell.redirect(_back(form), f"{len(done)} requests are declined.")
    undo = {"action": f"/packages/{done[0].id}/again", "label": "Ask again", "fields": {}}
    return shell.redirect(_back(form), f"{done[0].name} {done[0].version} is declined.", undo=undo)


@router.post("/lookups", action=Action.PACKAGE_ASK)
def look_up_again(form: PostedForm, actor: Who, lookups: Lookups, shell: Shell) -> Response:
    """Have failed lookups tried again."""
    try:
        count = lookups.again(actor, form["project_id"] or None)
    except Conflict as error:
        return shell.redirect(_back(form), error.detail, kind="warn")
    return shell.redirect(_back(form), f"The registry is asked again about {count}.")


@router.post("/{package_id}/remove", action=Action.PACKAGE_REMOVE)
def remove(package_id: Id, form: PostedForm, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Take an entry off its list."""
    here = f"/packages/{package_id}"
    try:
        gone = desk.remove(actor, package_id, form["reason"].strip()[:1000] or "Not said.")
    except Conflict as error:
        return shell.redirect(here, error.detail, kind="warn")
    return shell.redirect(
        here,
        f"{gone.name} {gone.version} can no longer be fetched.",
        undo={"action": f"{here}/again", "label": "Ask for it again", "fields": {}},
    )


@router.post("/{package_id}/again", action=Action.PACKAGE_ASK)
def ask_again(package_id: Id, actor: Who, desk: Desk, shell: Shell) -> Response:
    """Ask once more for what was declined or removed."""
    try:
        made = desk.again(actor, package_id)
    except (Conflict, Invalid) as error:
        return shell.redirect(f"/packages/{package_id}", error.detail, kind="warn")
    word = "allowed again" if made.status is AllowanceStatus.ALLOWED else "asked for again"
    return shell.redirect(f"/packages/{made.id}", f"{made.name} {made.version} is {word}.")


def _back(form: Fields) -> str:
    """Return where to go on: the page of the lists that the form was on, or of one entry."""
    back = form["back"]
    return back if back == "/packages" or back.startswith(("/packages?", "/packages/")) else _HERE
