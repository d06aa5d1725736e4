"""A tiny control plane and airlock door that keep the contracts of docs/workspaces.md, for the real hub to run against.

Usage: fake_control.py STATE RUN PORT
"""

import asyncio
import base64
import hashlib
import json
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlencode

from aiohttp import web

STATE, RUN, PORT = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
CODES, TOKENS, EVENTS, DRAFTS, SEEN = {}, {}, [], {}, []
DOOR_TOKEN = "door-token-for-tests"


def secret(name):
    return (RUN / "secrets" / name).read_text().strip()


async def authorize(request):
    """The browser, on the shell's origin: a real one looks at its own session cookie here."""
    query = request.query
    SEEN.append(dict(query))
    session = request.cookies.get("who", "")
    callback = f"http://hub.broch.localhost:{PORT + 1}/hub/oauth_callback"
    if (
        query["client_id"] != "hub"
        or query["redirect_uri"] != callback
        or query["code_challenge_method"] != "S256"
    ):
        return web.Response(status=400)
    back = {"state": query["state"]}
    if query.get("principal") == session:
        back["code"] = secrets.token_urlsafe()
        CODES[back["code"]] = (session, query["code_challenge"])
    else:
        back |= {"error": "access_denied", "error_description": "This workspace is not yours."}
    raise web.HTTPFound(f"{callback}?{urlencode(back)}")


async def token(request):
    user, _, password = base64.b64decode(request.headers["Authorization"].split()[1]).decode().partition(":")
    form = await request.post()
    principal, challenge = CODES.pop(form.get("code"), (None, ""))
    proof = (
        base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
    )
    if (
        (unquote(user), unquote(password)) != ("hub", secret("hub-oauth"))
        or principal is None
        or proof != challenge
    ):
        return web.json_response({"error": "invalid_grant"}, status=400)
    access = secrets.token_urlsafe()
    TOKENS[access] = principal
    return web.json_response({"access_token": access, "token_type": "Bearer", "expires_in": 60})


async def userinfo(request):
    return web.json_response({"sub": TOKENS[request.headers["Authorization"].split()[1]]})


async def plan(request):
    if request.headers.get("Authorization") != f"Bearer {secret('hub')}":
        return web.json_response({"title": "no"}, status=401)
    principal = request.match_info["principal"]
    zone, data = STATE / "zones" / "p1", STATE / "datasets" / "d1"
    home = zone / "home" / principal
    for folder in (home, zone / "imports", zone / "project", data):
        folder.mkdir(parents=True, exist_ok=True)
    (data / "people.csv").write_text("a,b\n1,2\n")
    reason = STATE / "refuse"
    if reason.exists():
        return web.json_response({"title": "no", "detail": reason.read_text()}, status=409)
    mounts = [
        {"source": str(data), "target": "/data/cohort", "read_only": True},
        {"source": str(zone / "imports"), "target": "/imports", "read_only": True},
        {"source": str(zone / "project"), "target": "/project", "read_only": False},
    ]
    return web.json_response({
        "workspace_id": "ws1", "principal": principal, "project_id": "p1", "project_name": "Cohort",
        "mounts": mounts, "home": str(home), "door_token": DOOR_TOKEN,
        "deadline_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        "profile": {"memory_bytes": 1 << 30, "processes": 200},
    })  # fmt: skip


async def event(request):
    EVENTS.append({"principal": request.match_info["principal"], **await request.json()})
    # In one step, so that a test never reads half of it.
    (STATE / "events.new").write_text(json.dumps(EVENTS))
    (STATE / "events.new").replace(STATE / "events.json")
    return web.Response(status=204)


def door_says(request):
    if request.headers.get("Authorization") != f"Bearer {DOOR_TOKEN}":
        raise web.HTTPUnauthorized


async def make_draft(request):
    door_says(request)
    draft = f"d{len(DRAFTS) + 1}"
    DRAFTS[draft] = {"purpose": (await request.json())["purpose"], "files": []}
    answer = {"id": draft, "status": "draft", "confirm_url": f"http://broch.localhost:{PORT}/airlock/{draft}"}
    return web.json_response(answer, status=201)


async def put_file(request):
    door_says(request)
    name = request.match_info["name"]
    body = await request.content.read()
    if name == "bad.exe":
        return web.json_response(
            {"title": "Refused", "detail": "Programs are not taken."},
            status=422,
            content_type="application/problem+json",
        )
    file = {"name": name, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    DRAFTS[request.match_info["draft"]]["files"].append(file)
    return web.json_response(file, status=201)


async def requests(request):
    door_says(request)
    return web.json_response({"items": [
        {"id": key, "direction": "egress", "status": "draft", "created_at": "2026-01-01T00:00:00Z",
         "purpose": value["purpose"], "files": len(value["files"]),
         "confirm_url": f"http://broch.localhost:{PORT}/airlock/{key}"} for key, value in DRAFTS.items()
    ]})  # fmt: skip


async def main():
    shell, control, door = web.Application(), web.Application(), web.Application()
    shell.router.add_get("/oauth/authorize", authorize)
    control.router.add_post("/oauth/token", token)
    control.router.add_get("/oauth/userinfo", userinfo)
    control.router.add_get("/internal/v1/spawn-plans/{principal}", plan)
    control.router.add_post("/internal/v1/workspaces/{principal}/events", event)
    door.router.add_post("/door/v1/drafts", make_draft)
    door.router.add_put("/door/v1/drafts/{draft}/files/{name}", put_file)
    door.router.add_get("/door/v1/requests", requests)
    runners = [web.AppRunner(app) for app in (shell, control, door)]
    for runner in runners:
        await runner.setup()
    (RUN / "door").mkdir(exist_ok=True)
    await web.TCPSite(runners[0], "127.0.0.1", PORT).start()
    await web.UnixSite(runners[1], str(RUN / "control.sock")).start()
    await web.UnixSite(runners[2], str(RUN / "door" / "door.sock")).start()
    await asyncio.Event().wait()


asyncio.run(main())
