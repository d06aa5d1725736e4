"""An export on a branch of a Git repository: one commit a run, never forced."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from broch_core.audit.exports.places import LARGEST, ExportRefused, checked_size, same_or_refused
from broch_core.errors import Unavailable

BRANCH = "audit"
_SECONDS = 300
_CONFIG = ("-c", "gc.auto=0", "-c", "protocol.ext.allow=never", "-c", "core.hooksPath=/dev/null")


class GitPlace:
    """A branch of a repository that others host: a rewritten branch is refused there, a fork is refused here."""

    def __init__(self, repository: str, scratch: Path) -> None:
        """Fetch the branch into a bare copy of our own.

        Args:
            repository: path or URL, as `git fetch` takes it. Never an option.
            scratch: folder of the copy.
        """
        if repository.startswith("-") or not repository:
            raise ExportRefused(f"{repository!r} is no Git repository.")
        self._git_program = shutil.which("git")
        if self._git_program is None:
            raise Unavailable("git is not installed.", remedy="Run: sudo apt-get install git")
        self._repository = repository
        self._copy = scratch / f"{hashlib.sha256(repository.encode()).hexdigest()[:32]}.git"
        self._added: dict[str, bytes] = {}
        if not self._copy.exists():
            self._copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._run("init", "--quiet", "--bare", str(self._copy), at_copy=False)
        self._head = self._fetched()

    def _fetched(self) -> str | None:
        listed = self._run("ls-remote", "--", self._repository, f"refs/heads/{BRANCH}").decode()
        if not listed:
            return None
        self._run(
            "fetch",
            "--quiet",
            "--no-tags",
            "--",
            self._repository,
            f"+refs/heads/{BRANCH}:refs/remotes/place",
        )
        return self._run("rev-parse", "--verify", "refs/remotes/place").decode().strip()

    def names(self, folder: str, *, after: str = "") -> list[str]:
        """Return the names in a folder."""
        there = set()
        if self._head is not None:
            listed = self._run("ls-tree", "--name-only", "-z", f"{self._head}:{folder}", missing=b"")
            there = {name.decode() for name in listed.split(b"\0") if name}
        prefix = f"{folder}/"
        there |= {name.removeprefix(prefix) for name in self._added if name.startswith(prefix)}
        return sorted(name for name in there if name > after)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        if name in self._added:
            return self._added[name]
        found = self._blob(name)
        if found is None:
            raise ExportRefused(f"The repository has no {name}.")
        return found

    def add(self, name: str, data: bytes) -> None:
        """Add a file to the commit to come."""
        there = self._added.get(name) or self._blob(name)
        if there is not None:
            same_or_refused(name, there, data)
            return
        self._added[name] = data

    def finish(self, says: str) -> None:
        """Commit what was added on top of what is there, and push it."""
        if not self._added:
            return
        index = self._copy / "index.export"
        index.unlink(missing_ok=True)
        environment = {"GIT_INDEX_FILE": str(index)}
        if self._head is not None:
            self._run("read-tree", self._head, environment=environment)
        lines = []
        for name, data in self._added.items():
            blob = self._run("hash-object", "-w", "--stdin", given=data).decode().strip()
            lines.append(f"100644 {blob}\t{name}\n")
        self._run(
            "update-index", "--add", "--index-info", given="".join(lines).encode(), environment=environment
        )
        tree = self._run("write-tree", environment=environment).decode().strip()
        parent = ("-p", self._head) if self._head is not None else ()
        commit = self._run("commit-tree", tree, *parent, "-m", says).decode().strip()
        self._run("push", "--quiet", "--", self._repository, f"{commit}:refs/heads/{BRANCH}")
        self._head = commit
        self._added.clear()
        index.unlink(missing_ok=True)

    def _blob(self, name: str) -> bytes | None:
        if self._head is None:
            return None
        size = self._run("cat-file", "-s", f"{self._head}:{name}", missing=b"")
        if not size:
            return None
        if int(size) > LARGEST:
            checked_size(name, b"")
            raise ExportRefused(f"{name} is larger than any file of an export.")
        return self._run("cat-file", "blob", f"{self._head}:{name}")

    def _run(
        self,
        *words: str,
        given: bytes | None = None,
        environment: dict[str, str] | None = None,
        at_copy: bool = True,
        missing: bytes | None = None,
    ) -> bytes:
        where = ("--git-dir", str(self._copy)) if at_copy else ()
        known = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "SSH_AUTH_SOCK", "GIT_SSH_COMMAND")
            if name in os.environ
        }
        known |= {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Broch",
            "GIT_AUTHOR_EMAIL": "broch@localhost",
            "GIT_COMMITTER_NAME": "Broch",
            "GIT_COMMITTER_EMAIL": "broch@localhost",
            "LC_ALL": "C",
        }
        try:
            done = subprocess.run(
                [str(self._git_program), *_CONFIG, *where, *words],
                input=given if given is not None else b"",
                capture_output=True,
                env=known | (environment or {}),
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ExportRefused(f"git {words[0]} took longer than {_SECONDS} s.") from error
        if done.returncode:
            if missing is not None:
                return missing
            says = done.stderr.decode(errors="replace").strip().splitlines()
            raise ExportRefused(f"git {words[0]} refused: {says[-1] if says else done.returncode}.")
        return done.stdout
