"""A real workspace with neighbours, in a network namespace of its own, by the code that starts workspaces.

Runs as a program, `python kernel_world.py STATE`, under `unshare --net`: makes the network, gives up root, builds the
world below STATE, and then obeys `{"do": ..., ...}` as JSON lines; see `kernel_rig.World`.
"""

import asyncio
import contextlib
import ctypes
import dataclasses
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from broch_spawner import workspace
from broch_spawner.hub_gate import HubGate
from broch_workspaces.plan import Mount, Profile, SpawnPlan
from broch_workspaces.sandbox import account, launch, runtime
from broch_workspaces.sandbox.bounds import Bounds
from broch_workspaces.sandbox.profile import Limits

HERE = Path(__file__).resolve().parent
RUNNER = (HERE / "kernel_inside.py").read_text()
PRINCIPAL = "w" + "a" * 24
PORT, DNS = 41999, 53
MARKER, VICTIM_WORD, VICTIM_SECRET, ABSTRACT = (
    "broch-marker-7c1e",
    "victim-word-2f9a",
    "victim-secret-5d0b",
    "broch-abstract-11",
)
PACKAGES = ("broch_core", "broch_workspaces", "broch_spawner")


def make_network():
    """Bring up loopback with two more addresses, and listen on all of them; needs the rights of root there."""
    with socket.socket() as control:
        name = b"lo".ljust(16, b"\0")
        flags = struct.unpack("16sH22x", fcntl.ioctl(control, 0x8913, name + bytes(24)))[1]
        fcntl.ioctl(control, 0x8914, struct.pack("16sH22x", b"lo", flags | 1))
        second = struct.pack("16sHH4s8x8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton("192.0.2.10"))
        fcntl.ioctl(control, 0x8916, second)
    with socket.socket(socket.AF_INET6) as control:
        fcntl.ioctl(
            control, 0x8916, socket.inet_pton(socket.AF_INET6, "fd00::10") + struct.pack("Ii", 128, 1)
        )
    listeners = []
    for family, addresses in (
        (socket.AF_INET, ("127.0.0.1", "192.0.2.10")),
        (socket.AF_INET6, ("::1", "fd00::10")),
    ):
        for address in addresses:
            for kind, port in (
                (socket.SOCK_STREAM, PORT),
                (socket.SOCK_DGRAM, PORT),
                (socket.SOCK_DGRAM, DNS),
            ):
                one = socket.socket(family, kind)
                # A new address of IPv6 is tentative for a moment.
                one.setsockopt(
                    socket.IPPROTO_IPV6 if family == socket.AF_INET6 else 0,
                    78 if family == socket.AF_INET6 else 15,
                    1,
                )
                one.bind((address, port))
                listeners.append(one)
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0" + ABSTRACT)
    return [*listeners, abstract]


def drop_capabilities():
    """Give up what was kept to make the network (capset(2), prctl(2) PR_CAP_AMBIENT_CLEAR_ALL)."""
    libc = ctypes.CDLL(None)
    libc.prctl(47, 4, 0, 0, 0)
    header, none = struct.pack("Ii", 0x20080522, 0), bytes(24)
    if libc.syscall(126 if os.uname().machine == "x86_64" else 91, header, none) != 0:
        raise OSError("capabilities could not be given up")


class Heard:
    """All that came to any listener."""

    def __init__(self, listeners) -> None:
        self._all = []
        for one in listeners:
            threading.Thread(target=self._listen, args=[one], daemon=True).start()

    def _listen(self, one):
        if one.type == socket.SOCK_DGRAM:
            while True:
                self._all.append(one.recv(65536))
        one.listen()
        while True:
            connection, _ = one.accept()
            connection.settimeout(1)
            with connection, contextlib.suppress(OSError):
                self._all.append(connection.recv(65536))

    def has(self, token):
        return token.encode() in b" ".join(self._all)


def write(path, text):
    """Put a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(text)
    return str(path)


def listen_at(path):
    """Listen on a unix socket and answer nothing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    one = socket.socket(socket.AF_UNIX)
    one.bind(str(path))
    one.listen(64)
    return one


class World:
    """The folders, sockets and sandboxes of one installation."""

    def __init__(self, state) -> None:
        self.state = state
        self.run = state / "run"
        self.kept = []
        self.sandboxes = {}
        project, other = state / "zones" / ("P" * 26), state / "zones" / ("Q" * 26)
        self.data, self.imports, self.home = (
            state / "datasets" / "d1",
            project / "imports",
            project / "home" / ("A" * 26),
        )
        self.project = project / "project"
        for folder in (self.data, self.imports):
            for name in ("file", "file2", "file3", "other"):
                write(folder / name, "content")
        for folder in (self.home, self.project, state / "tmp"):
            folder.mkdir(parents=True, mode=0o700)
        (state / "empty").mkdir()
        self.others = {
            "other_home": write(project / "home" / ("B" * 26) / MARKER, "theirs"),
            "other_project": write(other / "project" / MARKER, "theirs"),
            "other_data": write(state / "datasets" / "d2" / MARKER, "theirs"),
            "database": write(state / "broch.sqlite", "all"),
            "secret": write(self.run / "secrets" / "hub", "secret"),
            "host_home": write(state / "people" / "ann" / ".ssh" / "id_ed25519", "key"),
        }
        for name, path in (
            ("control", "control.sock"),
            ("lab", "ws/2/lab.sock"),
            ("door", "door/door.sock"),
            ("agent", "gpg/S.gpg-agent"),
        ):
            self.kept.append(listen_at(self.run / path))
            self.others[name] = str(self.run / path)
        self.kept.append((state / "broch.sqlite").open("rb"))
        self._hub()

    def _hub(self):
        """Serve a hub that answers everything, and the product's gate before it, each in this process."""
        ready = threading.Event()

        async def serve():
            from aiohttp import web

            async def answer(_request):
                return web.Response(text="the hub's answer")

            runner = web.ServerRunner(web.Server(answer))
            await runner.setup()
            (self.run / "hub").mkdir()
            (self.run / "ws" / "1").mkdir()
            await web.UnixSite(runner, str(self.run / "hub" / "hub.sock")).start()
            await HubGate(
                self.run / "hub" / "hub.sock", self.run / "ws" / "1" / "hub.sock", PRINCIPAL
            ).start()
            ready.set()
            await asyncio.Event().wait()

        threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
        ready.wait(20)

    def at(self, *, inside):
        """Return what things are called inside a workspace, or outside."""
        names = {
            **self.others,
            "principal": PRINCIPAL,
            "port": PORT,
            "dns": DNS,
            "abstract": ABSTRACT,
            "marker": MARKER,
            "victim_word": VICTIM_WORD,
            "victim_secret": VICTIM_SECRET,
            "victim": self.victim.pid if hasattr(self, "victim") else 0,
            "state": str(self.state),
            "hostname": os.uname().nodename,
        }
        if inside:
            tops = [
                "/" + name
                for name in (
                    "home",
                    "project",
                    "data",
                    "imports",
                    "run",
                    "tmp",
                    "etc",
                    "opt",
                    "dev",
                    "var",
                    "mnt",
                    "srv",
                    "media",
                )
            ]
            return names | {
                "data": "/data/cohort",
                "imports": "/imports",
                "home": "/home/researcher",
                "tmp": "/tmp",
                "hub": workspace.HUB_SOCKET,
                "door": "/run/broch/door",
                "tops": [*tops, str(self.state)],
            }
        return names | {
            "data": str(self.data),
            "imports": str(self.imports),
            "home": str(self.home),
            "tmp": str(self.state / "tmp"),
            "hub": str(self.run / "hub" / "hub.sock"),
            "door": str(self.run / "door"),
            "tops": [str(self.state)],
        }

    def plan(self, **limits):
        """Return the spawn plan of the workspace."""
        return SpawnPlan(
            workspace_id="ws",
            principal=PRINCIPAL,
            project_id="P" * 26,
            project_name="Probes",
            profile=Profile(
                **{
                    "memory_bytes": 1 << 30,
                    "processes": 128,
                    "tmp_bytes": 64 << 20,
                    "file_bytes": 1 << 30,
                    **limits,
                }
            ),
            mounts=(
                Mount(source=str(self.data), target="/data/cohort", read_only=True),
                Mount(source=str(self.imports), target="/imports", read_only=True),
                Mount(source=str(self.project), target="/project", read_only=False),
            ),
            home=str(self.home),
            deadline_at=datetime.now(UTC) + timedelta(hours=1),
            door_token="token",
        )

    def start(self, plan, code, wall="", *, bounded=True, **more):
        """Start `code` in the workspace of `plan` as the spawner does, with one wall removed when it is named."""
        profile = workspace.workspace_profile(
            plan,
            state_dir=self.state,
            door_dir=self.run / "door",
            hub_socket=self.run / "ws" / "1" / "hub.sock",
            env=more.pop("env", {}),
        )
        if wall == "writable":
            profile = dataclasses.replace(
                profile,
                binds=tuple(
                    dataclasses.replace(
                        one, read_only=one.read_only and not one.target.startswith(("/data", "/imports"))
                    )
                    for one in profile.binds
                ),
            )
        if wall == "unlimited":
            profile = dataclasses.replace(profile, limits=Limits(processes=None, open_files=None))
        ended = []
        bounds = Bounds(
            "probe",
            plan.profile,
            tmpfs=profile.tmpfs,
            quotas=workspace.workspace_quotas(plan),
            on_excess=lambda why: (ended.append(why), process.kill()),
        )
        usual = launch.bwrap_arguments
        launch.bwrap_arguments = lambda *given: without(wall, usual(*given))
        try:
            process = launch.start(
                profile, [sys.executable, "-I", "-c", code], before_run=bounds.before_run, **more
            )
        finally:
            launch.bwrap_arguments = usual
        if bounded:
            bounds.watch(process)
        return process, bounds, ended

    def start_victim(self):
        """Start another workspace, whose processes and environment nobody else may see."""
        code = f"import time; word = {VICTIM_WORD!r}; print(1, flush=True); time.sleep(600)"
        self.victim, bounds, _ = self.start(self.plan(), code, env={"SECRET": VICTIM_SECRET})
        bounds.release()
        self.victim.stdout.readline()

    def probe(self, place, probes):
        """Run probes in one place; return what became of each."""
        inside = place not in ("outside", "own namespaces")
        job = json.dumps({"at": self.at(inside=inside) | {"token": "TOKEN"}, "probes": probes})
        if inside:
            wall = "" if place == "workspace" else place
            process, bounds, _ = self.start(self.plan(), RUNNER, wall, with_stdin=True)
            said, _ = process.communicate(job.encode())
            bounds.release()
        else:
            new = (
                ["unshare", "--user", "--map-root-user", "--mount", "--net"]
                if place == "own namespaces"
                else []
            )
            said = subprocess.run(
                [*new, sys.executable, "-I", "-c", RUNNER],
                input=job.encode(),
                stdout=subprocess.PIPE,
                check=False,
            ).stdout
        return [
            json.loads(line) for line in said.decode().splitlines() if line.startswith("{")
        ], said.decode()


def without(wall, arguments):
    """Return bubblewrap's arguments with one wall removed."""
    if wall == "networked":
        at = arguments.index("--unshare-all")
        return [
            *arguments[:at],
            *(f"--unshare-{name}" for name in ("ipc", "pid", "uts", "cgroup")),
            *arguments[at + 1 :],
        ]
    if wall == "unfiltered":
        at = arguments.index("--seccomp")
        return arguments[:at] + arguments[at + 2 :]
    return arguments


def say(text):
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main():
    """Obey."""
    state = Path(sys.argv[1])
    listeners = make_network()
    bombs = sys.argv[2:] == ["bombs"]
    if bombs:
        sys.path.insert(0, str(HERE))
        import kernel_bombs

        kernel_bombs.mount_own(state)
    if os.geteuid() != 0:
        drop_capabilities()
    account.drop_privileges(
        [*runtime.interpreter_folders(), *runtime.package_folders(PACKAGES), HERE], [state]
    )
    heard = Heard(listeners)
    world = World(state)
    world.start_victim()
    commands = kernel_bombs.commands(world) if bombs else {}
    say(json.dumps({"ready": True, "at": world.at(inside=False)}))
    for line in sys.stdin:
        order = json.loads(line)
        do = order.pop("do")
        if do == "probe":
            answer = world.probe(**order)
        elif do == "heard":
            answer = [token for token in order["tokens"] if heard.has(token)]
        else:
            answer = commands[do](**order)
        say(json.dumps(answer))


if __name__ == "__main__":
    main()
