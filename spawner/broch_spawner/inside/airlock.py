#!/usr/bin/env -S python3 -I
"""`airlock`: bring results out of a workspace, and see what came in. Standard library only."""
# ruff: noqa: T201 (a command line speaks by printing)

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import socket
import ssl
import stat
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

DOOR = "/run/broch/door.sock"
TOKEN = "/run/broch/token"  # noqa: S105 (a path)
"""On one machine. On a cluster `BROCH_DOOR_URL` and `BROCH_DOOR_TOKEN_FILE` name others, `SSL_CERT_FILE` whom to believe."""
NO_DOOR = (
    "The shared workspace has no door to the airlock: what goes out must be one person's act. "
    "Submit it from your own workspace; it sees /project too."
)
"""What the door itself says on a cluster; on one machine it is not there to say so."""
CHUNK = 1 << 20
TIMEOUT_SECONDS = 120.0

EPILOG = """\
How results leave this workspace:
  1. airlock submit table.csv plot.png --purpose "Table 2 of the paper"
     copies the files into a draft. Nothing has left yet.
  2. Open the address that it prints, outside, and confirm purpose and files.
  3. Two reviewers look at every file. `airlock status` says how far they are.
What was brought in and cleared lies in /imports (`airlock imports`).
"""


class DoorError(Exception):
    """The door said no, or is not there; the text is for the person."""


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over the door's unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("airlock", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket in place of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(door: str) -> http.client.HTTPConnection:
    """Return a connection to the door: a path is its socket, anything else the address of the zone's gateway."""
    if door.startswith("/"):
        return _SocketConnection(door)
    place = urllib.parse.urlsplit(door)
    if place.scheme != "https" or not place.hostname:
        raise DoorError("This workspace does not know where the airlock is. Tell your administrator.")
    # One authority alone: whatever else the workspace trusts by now is of no matter here.
    trusted = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
    return http.client.HTTPSConnection(
        place.hostname, place.port or 443, timeout=TIMEOUT_SECONDS, context=trusted
    )


class Door:
    """The airlock's door, as this workspace may use it."""

    def __init__(self, door: str | None = None, token: str | None = None) -> None:
        self._door = door or os.environ.get("BROCH_DOOR_URL") or DOOR
        self._token_file = Path(token or os.environ.get("BROCH_DOOR_TOKEN_FILE") or TOKEN)

    def _token(self) -> str:
        # Read for each call: on a cluster it is renewed every few minutes.
        try:
            return self._token_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            if os.environ.get("BROCH_SHARED") == "1":
                raise DoorError(NO_DOOR) from None
            raise DoorError("This is not a workspace: there is no airlock token here.") from None

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Return the decoded answer of one call."""
        shown = {"Authorization": f"Bearer {self._token()}", **(headers or {})}
        try:
            connection = _connection(self._door)
            try:
                # A door that says no may do so before it has read everything: its reason then waits to be read.
                with contextlib.suppress(BrokenPipeError, ssl.SSLEOFError):
                    connection.request(method, path, body, shown)
                answer = connection.getresponse()
                text = answer.read(16 << 20)
            finally:
                connection.close()
        except TimeoutError:
            raise DoorError("The airlock did not answer in time. Try again in a minute.") from None
        except ssl.SSLCertVerificationError:
            raise DoorError("What answers here is not the airlock. Tell your administrator.") from None
        except (OSError, ValueError, http.client.HTTPException):
            raise DoorError("The airlock cannot be reached right now. Try again in a minute.") from None
        if answer.status >= 300:
            raise DoorError(_reason(answer.status, text))
        try:
            return json.loads(text) if text else {}
        except ValueError:
            raise DoorError("The airlock's answer makes no sense.") from None


def _reason(status: int, text: bytes) -> str:
    """Return the text of problem details (RFC 9457)."""
    try:
        problem = json.loads(text)
        said = problem.get("detail") or problem.get("title")
    except (ValueError, AttributeError):
        said = None
    return plain(said) if isinstance(said, str) else f"The airlock said no ({status})."


def plain(text: object) -> str:
    """Return text with nothing that would steer a terminal."""
    return "".join(char if char.isprintable() else "?" for char in str(text))


class Progress:
    """Reads a file in pieces, hashes what it reads, and shows how far it is."""

    def __init__(self, file: IO[bytes], name: str, size: int) -> None:
        self._file, self._name, self._size = file, name, size
        self._digest, self._sent = hashlib.sha256(), 0
        self._shown = sys.stderr.isatty()

    def __iter__(self) -> Iterator[bytes]:
        while self._sent < self._size:
            chunk = self._file.read(min(CHUNK, self._size - self._sent))
            if not chunk:
                raise DoorError(f"{plain(self._name)} became shorter while it was read.")
            self._sent += len(chunk)
            self._digest.update(chunk)
            if self._shown:
                share = 100 * self._sent // max(self._size, 1)
                print(f"\r{plain(self._name)}: {share} %", end="", file=sys.stderr, flush=True)
            yield chunk
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    @property
    def sha256(self) -> str:
        """Digest of what was sent so far."""
        return self._digest.hexdigest()


def _checked(paths: list[str]) -> list[tuple[str, str]]:
    """Return (path, name) of each file, or say at once all that is wrong."""
    found: list[tuple[str, str]] = []
    wrong = []
    for path in paths:
        name = os.path.basename(path)  # noqa: PTH119 (keeps what the person typed)
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116
            if stat.S_ISDIR(mode):
                wrong.append(f"{path}: is a folder. Name the files in it, or pack them into one .zip.")
            elif not stat.S_ISREG(mode):
                wrong.append(f"{path}: is not a file.")
            elif not os.access(path, os.R_OK):
                wrong.append(f"{path}: cannot be read.")
            elif name in {known for _, known in found}:
                wrong.append(f"{path}: there are two files called {name}. Rename one.")
        except (OSError, ValueError) as error:
            wrong.append(f"{path}: {getattr(error, 'strerror', None) or 'is not a file name'}.")
        found.append((path, name))
    if wrong:
        raise DoorError("Nothing was submitted.\n" + "\n".join(f"  {plain(line)}" for line in wrong))
    return found


def _send(door: Door, draft: str, path: str, name: str) -> None:
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        body = Progress(file, name, size)
        took = door.call(
            "PUT",
            f"/door/v1/drafts/{urllib.parse.quote(draft, safe='')}/files/{urllib.parse.quote(name, safe='')}",
            body,
            {"Content-Length": str(size), "Content-Type": "application/octet-stream"},
        )
    if took.get("sha256") != body.sha256:
        raise DoorError("What arrived is not what was sent. Submit the file again.")
    print(f"  {plain(name)}  {size:,} bytes  sha256 {body.sha256}")


def submit(door: Door, arguments: argparse.Namespace) -> int:
    """Copy files into a new draft."""
    files = _checked(arguments.files)
    draft = door.call(
        "POST",
        "/door/v1/drafts",
        json.dumps({"purpose": arguments.purpose}).encode(),
        {"Content-Type": "application/json"},
    )
    print(f"Draft {plain(draft.get('id', '?'))}:")
    done: list[str] = []
    for path, name in files:
        try:
            _send(door, str(draft["id"]), path, name)
        except (DoorError, OSError, KeyError) as error:
            said = (
                error
                if isinstance(error, DoorError)
                else getattr(error, "strerror", None) or "no draft was made"
            )
            kept = ", ".join(map(plain, done)) or "no file"
            rest = ", ".join(plain(one) for _, one in files[len(done) :])
            raise DoorError(
                f"{plain(name)} was not taken: {said}\n"
                f"The draft holds {kept}. Not in it: {rest}.\n"
                f"Confirm the draft as it stands, or withdraw it there and submit again: "
                f"{plain(draft.get('confirm_url', ''))}"
            ) from None
        done.append(name)
    print(f"Nothing has left yet. Confirm purpose and files here: {plain(draft.get('confirm_url', ''))}")
    return 0


def status(door: Door, _: argparse.Namespace) -> int:
    """Say how far the requests of this project are."""
    items = door.call("GET", "/door/v1/requests").get("items", [])
    if not items:
        print("No airlock requests yet. Start one with: airlock submit FILE")
    for item in items:
        facts = [str(item.get(name, "")) for name in ("created_at", "direction", "status", "id", "purpose")]
        print(
            "  ".join(map(plain, facts)),
            f" {item.get('files', 0)} file(s)  {plain(item.get('confirm_url', ''))}",
        )
    return 0


def imports(door: Door, _: argparse.Namespace) -> int:
    """List what was brought in and cleared."""
    items = door.call("GET", "/door/v1/imports").get("items", [])
    if not items:
        print("Nothing was brought in yet. Files are brought in from outside, on the project's page.")
    for item in items:
        print(
            f"/imports/{plain(item.get('name', '?'))}  {item.get('size', 0):,} bytes  sha256 {plain(item.get('sha256', ''))}"
        )
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(
        prog="airlock",
        description="Bring results out of this workspace, and see what came in.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True)
    one = commands.add_parser("submit", help="copy files into a draft that you then confirm outside")
    one.add_argument("files", nargs="+", metavar="FILE")
    one.add_argument(
        "--purpose", default="", help="what the reviewers should know; can be written at confirmation"
    )
    one.set_defaults(run=submit)
    commands.add_parser("status", help="say how far your requests are").set_defaults(run=status)
    commands.add_parser("imports", help="list what was brought in").set_defaults(run=imports)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = parser().parse_args(argv)
    try:
        result: int = arguments.run(Door(), arguments)
    except DoorError as error:
        print(f"airlock: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("airlock: stopped. A draft may stand half filled; `airlock status` shows it.", file=sys.stderr)
        return 130
    return result


if __name__ == "__main__":
    sys.exit(main())
