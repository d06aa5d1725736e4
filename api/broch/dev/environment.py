"""Make the Python environment of a checkout from its lock.

Run by path, by any Python from 3.11 on, before anything is installed: the standard library only.
`./broch` compares the stamp itself and comes here only when it differs.
"""

import argparse
import ast
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

RUNTIME_LOCK = "requirements.lock"
DEV_LOCK = "requirements-dev.lock"
RUNTIME_STAMP = ".broch"
DEV_STAMP = ".broch-dev"
UNFINISHED = ".broch-unfinished"
"""Lies in an environment while it changes; an environment found with it is made anew."""


class SetUpFailed(Exception):
    """The environment could not be made; the message says at what and what to do."""


def say(text: str) -> None:
    """Tell the person what happens; on stderr, because stdout belongs to the command."""
    sys.stderr.write(f"broch: {text}\n")
    sys.stderr.flush()


def stamp(root: Path, env: Path, *, dev: bool) -> str:
    """Return the line that marks `env` as made from the present locks of `root`, at these two paths.

    Paths count because an environment names them (console scripts, the editable install). The script
    `broch` computes the same line.
    """
    names = ["pyproject.toml", RUNTIME_LOCK, *([DEV_LOCK] if dev else [])]
    digest = hashlib.sha256(b"".join((root / name).read_bytes() for name in names)).hexdigest()
    return f"{root}|{env}|{digest}"


def is_current(root: Path, env: Path, *, dev: bool) -> bool:
    """Return whether `env` needs nothing done."""
    marker = env / (DEV_STAMP if dev else RUNTIME_STAMP)
    try:
        found = marker.read_text().rstrip("\n")
    except OSError:
        return False
    return found == stamp(root, env, dev=dev) and (env / "bin" / "python").exists()


def pinned(lock: str, name: str) -> str:
    """Return the lines of one package in a lock: its pin and its hashes."""
    found = re.search(rf"^{re.escape(name)}==.*(?:\n .*)*", lock, flags=re.MULTILINE)
    if found is None:
        raise SetUpFailed(f"{RUNTIME_LOCK} does not pin {name}: run ./broch lock")
    return found.group() + "\n"


def pip_settings(listing: str) -> dict[str, str]:
    """Read what `pip config list` prints; the environment wins over `install`, that over `global`."""
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in found:
            found[section][name] = str(ast.literal_eval(value))
    return found["global"] | found["install"] | found[":env:"]


def uv_settings(pip: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Say in uv's words what the person set for pip, which uv does not read. What is set for uv stays."""
    local = [link for link in pip.get("find-links", "").split() if "://" in link or Path(link).exists()]
    wanted = {
        "UV_DEFAULT_INDEX": pip.get("index-url", ""),
        "UV_INDEX": " ".join(pip.get("extra-index-url", "").split()),
        # Safe here: every file must have a hash of the lock, whichever index it comes from.
        "UV_INDEX_STRATEGY": "unsafe-best-match" if pip.get("extra-index-url") else "",
        "UV_FIND_LINKS": ",".join(local),
        "UV_NO_INDEX": "1" if pip.get("no-index", "").lower() in {"1", "true", "yes", "on"} else "",
        "UV_INSECURE_HOST": " ".join(pip.get("trusted-host", "").split()),
        "UV_HTTP_TIMEOUT": pip.get("timeout") or pip.get("default-timeout", ""),
        "SSL_CERT_FILE": pip.get("cert", ""),
        "ALL_PROXY": pip.get("proxy", ""),
    }
    return {name: value for name, value in wanted.items() if value and not environ.get(name)}


def cache_settings(root: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Choose where downloads are kept: the home folder if it is ours to write, else the checkout, else nowhere."""
    home = environ.get("XDG_CACHE_HOME") or environ.get("HOME") or ""
    with contextlib.suppress(OSError):
        # A home of somebody else (sudo may keep HOME) would end up with files that its owner cannot remove.
        if home and Path(home).stat().st_uid == os.geteuid() and os.access(home, os.W_OK):
            return {}
    if os.access(root, os.W_OK):
        wanted = {"UV_CACHE_DIR": str(root / ".cache" / "uv"), "PIP_CACHE_DIR": str(root / ".cache" / "pip")}
    else:
        wanted = {"UV_NO_CACHE": "1", "PIP_NO_CACHE_DIR": "1"}
    return {name: value for name, value in wanted.items() if not environ.get(name)}


@contextlib.contextmanager
def only_one(path: Path, what: str = "makes the environment") -> Iterator[None]:
    """Hold the lock file `path`: two starts at the same moment make one environment (or `what` else takes a while)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another ./broch {what}; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(what: str, command: Sequence[str | Path], *, cwd: Path, extra: Mapping[str, str]) -> None:
    """Run one step; its output goes to stderr, it never asks.

    Raises:
        SetUpFailed: the step ended with an error, which it has printed.
    """
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | extra, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
    )
    if done.returncode:
        raise SetUpFailed(f"{what} failed; the reason is above. Run the same command again to resume.")


def make_venv(env: Path) -> None:
    """Make an empty environment at `env`; what was left there by an interrupted run goes first."""
    if env.exists():
        ours = (env / "pyvenv.cfg").exists() or (env / UNFINISHED).exists() or not any(env.iterdir())
        if not ours:
            raise SetUpFailed(f"{env} exists and is no Python environment: move it away or set BROCH_ENV")
        shutil.rmtree(env)
    env.mkdir(parents=True)
    (env / UNFINISHED).touch()
    # The versioned file, not python3: after an upgrade of the system the link dangles, and that is noticed.
    base = os.path.realpath(sys.executable)
    run("python -m venv", [base, "-I", "-m", "venv", env], cwd=env.parent, extra={})


def make_readable(env: Path) -> None:
    """Let every account read `env`: root makes it, services without root use it (a cache may hold 0600 files)."""
    for folder, _, names in os.walk(env):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                continue
            needed = 0o055 if mode & stat.S_IXUSR else 0o044
            if mode & needed != needed:
                path.chmod(stat.S_IMODE(mode) | needed)


def fill(root: Path, env: Path, *, dev: bool) -> None:
    """Bring `env` to exactly what the lock says, plus this checkout as an editable install."""
    python, uv = str(env / "bin" / "python"), str(env / "bin" / "uv")
    extra = cache_settings(root, os.environ)
    lock = DEV_LOCK if dev else RUNTIME_LOCK
    wanted = env / ".uv.txt"
    wanted.write_text(pinned((root / RUNTIME_LOCK).read_text(), "uv"))
    pip = [python, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input"]
    install = ["install", "-q", "--no-user", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    run("fetching uv", [*pip, *install, "-r", str(wanted)], cwd=root, extra=extra)
    wanted.unlink()
    listing = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False)
    extra |= uv_settings(pip_settings(listing.stdout), os.environ)
    # Compiled now, because services without root and notebooks in sandboxes cannot write beside the source.
    sync = [uv, "pip", "sync", "--python", python, "--compile-bytecode", "--require-hashes", "--no-build"]
    # On a terminal uv shows progress bars, and names what it installed; a log needs neither.
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    run("installing the locked packages", [*sync, *quiet, lock], cwd=root, extra=extra)
    # After the sync, which removes what the lock does not name.
    editable = [
        uv,
        "pip",
        "install",
        "-q",
        "--python",
        python,
        "--no-deps",
        "--no-build-isolation",
        "-e",
        ".",
    ]
    run("installing broch itself", editable, cwd=root, extra=extra)
    if os.geteuid() == 0:
        make_readable(env)


def prepare(root: Path, env: Path, *, dev: bool) -> None:
    """Make `env` current, from scratch if it is missing, broken or unfinished."""
    os.umask(0o022)
    started = time.monotonic()
    with only_one(env.with_name(env.name + ".lock")):
        if is_current(root, env, dev=dev):
            return
        # Who has the developer's tools keeps them when the runtime lock changes.
        dev = dev or (env / DEV_STAMP).exists()
        whole = (env / "pyvenv.cfg").exists() and not (env / UNFINISHED).exists()
        if whole and (env / "bin" / "python").exists():
            say(f"bringing {env} up to date with {DEV_LOCK if dev else RUNTIME_LOCK}")
            (env / UNFINISHED).touch()
        else:
            say(f"making the environment in {env} (first use: fetches about 250 MB)")
            make_venv(env)
        fill(root, env, dev=dev)
        (env / RUNTIME_STAMP).write_text(stamp(root, env, dev=False) + "\n")
        if dev:
            (env / DEV_STAMP).write_text(stamp(root, env, dev=True) + "\n")
        (env / UNFINISHED).unlink()
    say(f"environment ready in {time.monotonic() - started:.0f} s")


def main(argv: Sequence[str] | None = None) -> int:
    """Make the environment; return the exit status."""
    parser = argparse.ArgumentParser(prog="environment.py", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="the checkout")
    parser.add_argument("--env", type=Path, required=True, help="the environment's folder")
    parser.add_argument("--dev", action="store_true", help="with the developer's tools")
    options = parser.parse_args(argv)
    try:
        prepare(options.root, options.env, dev=options.dev)
    except SetUpFailed as problem:
        say(str(problem))
    except OSError as problem:
        say(f"cannot make the environment: {problem}. BROCH_ENV names another folder for it.")
    except KeyboardInterrupt:
        say("interrupted; the next start begins the environment anew")
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
