"""Renders one file: starts the sandbox, listens to it, and believes nothing that it says."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from broch_airlock.checks.model import FileUnderCheck
from broch_airlock.checks.records import Nonsense
from broch_airlock.checks.sandbox import BubblewrapSandbox, Sandbox, SandboxProcess
from broch_airlock.viewer.render.model import RenderedPage
from broch_airlock.viewer.render.page import failure_page, make_page
from broch_airlock.viewer.render.reading import Answer, read_answer
from broch_workspaces.sandbox.errors import SandboxUnavailable

INSIDE = "broch_airlock.viewer.render.inside"
SECONDS = 30
"""Wall-clock seconds for one page; a reviewer waits for it."""
AT_ONCE = 4
"""Pages rendered at the same time: each sandbox may take 1 GiB of memory."""
_CHUNK = 1 << 20

_slots = threading.BoundedSemaphore(AT_ONCE)
_log = structlog.get_logger(__name__)


class _NotShown(Exception):
    """The reason for the person who wants to see the file."""


def render_file(file: FileUnderCheck, page: int, sandbox: Sandbox | None = None) -> RenderedPage:
    """Return one page of a file; see `render`."""
    started = time.monotonic()
    if not _slots.acquire(timeout=SECONDS):
        return failure_page(file, "Too many files are being opened at this moment. Try again in a minute.")
    try:
        answer = _answer(file, max(page, 1), sandbox or BubblewrapSandbox())
        rendered = make_page(file, max(page, 1), answer)
    except _NotShown as reason:
        rendered = failure_page(file, str(reason))
    except Nonsense as error:
        _log.warning("viewer.sandbox_failed", error=str(error))
        took = time.monotonic() - started > SECONDS
        why = f"It took longer than {SECONDS} seconds." if took else "Reading it failed in the sandbox."
        rendered = failure_page(file, why)
    except Exception as error:  # noqa: BLE001 (logged; see below)
        # A file must not decide whether the reviewer gets an answer.
        _log.exception("viewer.render_failed")
        rendered = failure_page(file, f"Showing it failed ({type(error).__name__}).")
    finally:
        _slots.release()
    seconds = round(time.monotonic() - started, 3)
    _log.info(
        "viewer.rendered", kind=rendered.kind, bytes=file.size, html=len(rendered.html), seconds=seconds
    )
    return rendered


def _answer(file: FileUnderCheck, page: int, sandbox: Sandbox) -> Answer:
    """Return what the sandbox says, when the bytes are those that were taken in."""
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _NotShown(f"The file cannot be opened: {error.strerror}.") from None
    stop = threading.Event()
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
            raise _NotShown("The file is not what was taken in.")
        with ThreadPoolExecutor(1, thread_name_prefix="viewer-hash") as hasher:
            digest = hasher.submit(_sha256, descriptor, stop)
            try:
                answer = _listened(file, page, sandbox)
                _require_same(file, digest)
            finally:
                stop.set()
    finally:
        os.close(descriptor)
    return answer


def _sha256(descriptor: int, stop: threading.Event) -> str:
    digest = hashlib.sha256()
    buffer = bytearray(_CHUNK)
    offset = 0
    while not stop.is_set() and (size := os.preadv(descriptor, [buffer], offset)):
        digest.update(memoryview(buffer)[:size])
        offset += size
    return digest.hexdigest()


def _require_same(file: FileUnderCheck, digest: Future[str]) -> None:
    """Refuse bytes that nobody scanned."""
    try:
        same = digest.result(timeout=SECONDS) == file.sha256
    except OSError as error:
        raise _NotShown(f"The file cannot be read: {error.strerror}.") from None
    except TimeoutError:
        raise _NotShown(f"Reading it took longer than {SECONDS} seconds.") from None
    if not same:
        raise _NotShown("Its bytes are not those that were taken in (SHA-256).")


def _listened(file: FileUnderCheck, page: int, sandbox: Sandbox) -> Answer:
    job = {"name": file.name.encode("utf-8", "replace").decode(), "page": page}
    try:
        process = sandbox.start(INSIDE, [file.path], job, SECONDS)
    except (SandboxUnavailable, OSError, ValueError) as error:
        _log.warning("viewer.sandbox_unavailable", error=str(error))
        raise _NotShown("The sandbox that files are read in could not be started.") from None
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        if process.stdout is None:
            raise Nonsense("a sandbox without an output")
        return read_answer(process.stdout)
    finally:
        watchdog.cancel()
        _end(process)


def _end(process: SandboxProcess) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
