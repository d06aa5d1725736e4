"""What the tests of a running Broch do and ask."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil

from broch import doctor
from broch_workspaces.sandbox.runtime import interpreter_folders
from support.busy import slower
from support.running import DIRECT

ROOT = os.geteuid() == 0
ORDINARY_ID = 64999
TRIES = 0.1

_AS_ORDINARY = f"""
import os, sys
from pathlib import Path
from broch_workspaces.sandbox import account
account.choose_account = lambda: ({ORDINARY_ID}, {ORDINARY_ID})
readable, writable, command = (part.split(os.pathsep) if part else [] for part in sys.argv[1:4])
account.drop_privileges([Path(path) for path in readable], [Path(path) for path in writable])
os.execv(sys.argv[4], sys.argv[4:])
"""
"""Stands for a login as an ordinary user, and for nothing else: an interpreter that lies below /root is bound into
that user's view. What is run afterwards finds itself an ordinary user with no way back."""


def as_ordinary(command, *, writable=()):
    """Return `command` as an ordinary user runs it, who owns the folders `writable` (made when absent)."""
    if not ROOT:
        return list(command)
    readable = os.pathsep.join(map(str, [*interpreter_folders(), *doctor.source_folders()]))
    folders = os.pathsep.join(map(str, writable))
    return [sys.executable, "-c", _AS_ORDINARY, readable, folders, "", *command]


def broch_command(*arguments, command=DIRECT, seconds=60, **environment):
    """Run one `broch` command to its end."""
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd="/",
        env={**os.environ, **environment},
    )


def until(question, seconds, says="it did not happen"):
    """Ask until the answer is true; return it.

    Limits hold for a machine that is ours alone; one that others load as well gets as much longer.
    """
    seconds *= slower()
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{says} within {seconds:.0f} s"
        time.sleep(TRIES)


def readyz(broch):
    """Return the parts of `/readyz` by name, and its status; nothing while nobody answers."""
    try:
        answer = httpx.get(f"{broch.api}/readyz", timeout=30, trust_env=False)
    except httpx.HTTPError:
        return None
    return answer.status_code, {part["name"]: part for part in answer.json()["parts"]}


def await_ready(broch, seconds=60):
    """Wait until every part is well."""

    def well():
        said = readyz(broch)
        return said is not None and said[0] == 200 and all(part["ok"] for part in said[1].values())

    until(well, seconds, "Broch was not ready")


def services(broch):
    """Return the processes that the supervisor keeps, by name."""
    found = {}
    for child in psutil.Process(broch.process.pid).children():
        try:
            words = child.cmdline()
        except psutil.NoSuchProcess:
            continue
        if "serve" in words:
            found[words[words.index("serve") + 1]] = child
        elif words and Path(words[0]).name == "clamd":
            found["clamd"] = child
    return found


def kill(process):
    """End a process as a crash would; return what it had below it."""
    below = process.children(recursive=True)
    process.kill()
    return below


def sandboxes(broch):
    """Return the processes of all workspaces."""
    return services(broch)["hub"].children(recursive=True)


def all_gone(processes, seconds):
    """Wait for the end of processes; as long as `until` would."""
    _, alive = psutil.wait_procs(processes, timeout=seconds * slower())
    assert not alive, f"still there: {alive}"


def project_of(client, slug="tumour-texture"):
    """Return the id of a project."""
    return next(row["id"] for row in client.get("/api/v1/projects").json()["items"] if row["slug"] == slug)


def got(answer, status=200):
    """Return the JSON of an answer that must have this status."""
    assert answer.status_code == status, answer.text
    return answer.json()


def draft(client, files):
    """Make an ingress draft with files; return it as the API shows it."""
    made = got(client.post("/api/v1/airlock/requests", json={"project_id": project_of(client)}), 201)
    for name, content in files.items():
        got(
            client.put(
                f"/api/v1/airlock/requests/{made['id']}/files/{name}",
                content=content,
                headers={"Content-Type": "application/octet-stream"},
            ),
            201,
        )
    return got(client.get(f"/api/v1/airlock/requests/{made['id']}"))


def submit(client, request):
    """Confirm a draft."""
    files = [{"file_id": file["id"], "sha256": file["sha256"]} for file in request["file_list"]]
    body = {"purpose": "Try the airlock", "files": files}
    return got(client.post(f"/api/v1/airlock/requests/{request['id']}/submit", json=body))


def outcome(client, request, seconds=60):
    """Wait until the checks of a request ended; return it."""

    def checked():
        try:
            found = client.get(f"/api/v1/airlock/requests/{request['id']}")
        except httpx.HTTPError:
            return None
        found = found.json() if found.status_code == 200 else {"status": "checking"}
        return found if found["status"] not in {"submitted", "checking"} else None

    return until(checked, seconds, "the checks did not end")


def workspace(client, workspace_id):
    """Return a workspace as the API shows it; nothing while nobody answers."""
    try:
        answer = client.get(f"/api/v1/workspaces/{workspace_id}")
    except httpx.HTTPError:
        return None
    return answer.json() if answer.status_code == 200 else None


def open_workspace(client, seconds=60):
    """Open a workspace and wait until it runs."""
    row = got(client.post("/api/v1/workspaces", json={"project_id": project_of(client)}), 202)

    def running():
        found = workspace(client, row["id"])
        assert found is None or found["status"] in {"starting", "running"}, found
        return found if found and found["status"] == "running" else None

    return until(running, seconds, "the workspace did not run")
