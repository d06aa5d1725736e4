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

DOOR_TOKEN = "door-token-for-tests"


class Control:
    """The control plane's side of the hub: sign-in, plans, reports.

    `STATE/refuse` holds why nothing may start, `STATE/events.json` what was reported, `STATE/plan-PRINCIPAL.json` what is
    other in somebody's plan.
    """

    def __init__(self, state, tokens, hub_origin, plan) -> None:
        self.state, self.tokens, self.hub_origin, self.plan_of = state, tokens, hub_origin, plan
        self.codes, self.access, self.events = {}, {}, []

    def secret(self, name):
        return (self.tokens / name).read_text().strip()

    def add_to(self, shell, control):
        """Add the routes for browsers to `shell`, those for the hub to `control`."""
        shell.router.add_get("/oauth/authorize", self.authorize)
        control.router.add_post("/oauth/token", self.token)
        control.router.add_get("/oauth/userinfo", self.userinfo)
        control.router.add_get("/internal/v1/spawn-plans/{principal}", self.plan)
        control.router.add_post("/internal/v1/workspaces/{principal}/events", self.event)
        control.router.add_post("/internal/v1/workspaces/{principal}/idle", self.idle)

    async def authorize(self, request):
        """The browser, on the shell's origin: a real one looks at its own session cookie here."""
        query = request.query
        session = request.cookies.get("who", "")
        callback = f"{self.hub_origin}/hub/oauth_callback"
        if (
            query["client_id"] != "hub"
            or query["redirect_uri"] != callback
            or query["code_challenge_method"] != "S256"
        ):
            return web.Response(status=400)
        back = {"state": query["state"]}
        if query.get("principal") == session:
            back["code"] = secrets.token_urlsafe()
            self.codes[back["code"]] = (session, query["code_challenge"])
        else:
            back |= {"error": "access_denied", "error_description": "This workspace is not yours."}
        raise web.HTTPFound(f"{callback}?{urlencode(back)}")

    async def token(self, request):
        basic = base64.b64decode(request.headers["Authorization"].split()[1]).decode()
        user, _, password = basic.partition(":")
        form = await request.post()
        principal, challenge = self.codes.pop(form.get("code"), (None, ""))
        proof = (
            base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
            .decode()
            .rstrip("=")
        )
        if (
            (unquote(user), unquote(password)) != ("hub", self.secret("hub-oauth"))
            or principal is None
            or proof != challenge
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        access = secrets.token_urlsafe()
        self.access[access] = principal
        return web.json_response({"access_token": access, "token_type": "Bearer", "expires_in": 60})

    async def userinfo(self, request):
        return web.json_response({"sub": self.access[request.headers["Authorization"].split()[1]]})

    async def plan(self, request):
        if request.headers.get("Authorization") != f"Bearer {self.secret('hub')}":
            return web.json_response({"title": "no"}, status=401)
        reason = self.state / "refuse"
        if reason.exists():
            return web.json_response({"title": "no", "detail": reason.read_text()}, status=409)
        principal = request.match_info["principal"]
        changes = self.state / f"plan-{principal}.json"
        changed = json.loads(changes.read_text()) if changes.exists() else {}
        return web.json_response(self.plan_of(principal) | changed)

    async def event(self, request):
        return self._take(request.match_info["principal"], await request.json())

    async def idle(self, request):
        """A notice that it will be stopped is kept among the events, in their order."""
        return self._take(
            request.match_info["principal"], {"event": "idle", "detail": "", **await request.json()}
        )

    def _take(self, principal, said):
        # The time is the receiver's: how soon something was told is seen by it.
        at = datetime.now(UTC).timestamp()
        self.events.append({"principal": principal, "at": at, **said})
        # In one step, so that a test never reads half of it.
        (self.state / "events.new").write_text(json.dumps(self.events))
        (self.state / "events.new").replace(self.state / "events.json")
        return web.Response(status=204)


def folder_plan(state):
    """Return the function that makes plans with folders below `state`."""

    def plan(principal):
        zone, data = state / "zones" / "p1", state / "datasets" / "d1"
        home = zone / "home" / principal
        for folder in (home, zone / "imports", zone / "project", data):
            folder.mkdir(parents=True, exist_ok=True)
        (data / "people.csv").write_text("a,b\n1,2\n")
        mounts = [
            {"source": str(data), "target": "/data/cohort", "read_only": True},
            {"source": str(zone / "imports"), "target": "/imports", "read_only": True},
            {"source": str(zone / "project"), "target": "/project", "read_only": False},
        ]
        return {
            "workspace_id": "ws1", "principal": principal, "project_id": "p1", "project_name": "Cohort",
            "mounts": mounts, "home": str(home), "door_token": DOOR_TOKEN,
            "deadline_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
            "profile": {"memory_bytes": 1 << 30, "processes": 200},
        }  # fmt: skip

    return plan


class Door:
    """The airlock door: drafts that come, and what is told of them."""

    def __init__(self, shell_origin) -> None:
        self.shell_origin, self.drafts = shell_origin, {}

    def add_to(self, door):
        door.router.add_post("/door/v1/drafts", self.make_draft)
        door.router.add_put("/door/v1/drafts/{draft}/files/{name}", self.put_file)
        door.router.add_get("/door/v1/requests", self.requests)

    def says(self, request):
        if request.headers.get("Authorization") != f"Bearer {DOOR_TOKEN}":
            raise web.HTTPUnauthorized

    async def make_draft(self, request):
        self.says(request)
        draft = f"d{len(self.drafts) + 1}"
        self.drafts[draft] = {"purpose": (await request.json())["purpose"], "files": []}
        answer = {"id": draft, "status": "draft", "confirm_url": f"{self.shell_origin}/airlock/{draft}"}
        return web.json_response(answer, status=201)

    async def put_file(self, request):
        self.says(request)
        name = request.match_info["name"]
        body = await request.content.read()
        if name == "bad.exe":
            return web.json_response(
                {"title": "Refused", "detail": "Programs are not taken."},
                status=422,
                content_type="application/problem+json",
            )
        file = {"name": name, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        self.drafts[request.match_info["draft"]]["files"].append(file)
        return web.json_response(file, status=201)

    async def requests(self, request):
        self.says(request)
        return web.json_response({"items": [
            {"id": key, "direction": "egress", "status": "draft", "created_at": "2026-01-01T00:00:00Z",
             "purpose": value["purpose"], "files": len(value["files"]),
             "confirm_url": f"{self.shell_origin}/airlock/{key}"} for key, value in self.drafts.items()
        ]})  # fmt: skip


async def main(state, run, port):
    shell, control, door = web.Application(), web.Application(), web.Application()
    hub_origin = f"http://hub.broch.localhost:{port + 1}"
    Control(state, run / "secrets", hub_origin, folder_plan(state)).add_to(shell, control)
    Door(f"http://broch.localhost:{port}").add_to(door)
    runners = [web.AppRunner(app) for app in (shell, control, door)]
    for runner in runners:
        await runner.setup()
    (run / "door").mkdir(exist_ok=True)
    await web.TCPSite(runners[0], "127.0.0.1", port).start()
    await web.UnixSite(runners[1], str(run / "control.sock")).start()
    await web.UnixSite(runners[2], str(run / "door" / "door.sock")).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
