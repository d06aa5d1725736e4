"""The supervisor of the checks. It parses nothing: it hashes, counts, hands files to clamd, and listens to the sandbox.

The original bytes go to clamd from here, so that a sandbox that was taken over can only worsen a verdict.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import structlog

from broch_airlock.checks import names
from broch_airlock.checks.ahead import ScanAhead
from broch_airlock.checks.antivirus import Antivirus, AntivirusHealth
from broch_airlock.checks.listener import SandboxListener
from broch_airlock.checks.model import CheckResult, FileUnderCheck, Finding, Verdict, display, result, worst
from broch_airlock.checks.originals import Case, scan_originals
from broch_airlock.checks.pieces import CHECK as MALWARE
from broch_airlock.checks.policy import Policy
from broch_airlock.checks.sandbox import BubblewrapSandbox, Sandbox, SandboxProcess
from broch_workspaces.sandbox.errors import SandboxUnavailable

ENGINE = "broch supervisor 1"
INSIDE = "broch_airlock.checks.inside"
FILES_MOST = 1000
"""Files of one request that go into one sandbox."""

_log = structlog.get_logger(__name__)


def check_file(
    file: FileUnderCheck, policy: Policy, antivirus: Antivirus, sandbox: Sandbox | None = None
) -> list[CheckResult]:
    """Return the answers of all checks about one file; see `check_files`."""
    return check_files([file], policy, antivirus, sandbox)[0]


def check_files(
    files: Sequence[FileUnderCheck],
    policy: Policy,
    antivirus: Antivirus,
    sandbox: Sandbox | None = None,
    ahead: ScanAhead | None = None,
) -> list[list[CheckResult]]:
    """Check all files of one request in one sandbox; returns the answers in the order of the files.

    Every required check has an answer for every file. Never raises for what is in a file, for a scanner that is away
    or for a sandbox that fails: that is `error` or `unscannable`, with the reason. Blocks; memory is bounded whatever
    the files are. Call it from a thread that lives until it returns.

    Args:
        files: at most `FILES_MOST`.
        policy: limits and required checks.
        antivirus: the scanner.
        sandbox: how the sandboxed side is started; bubblewrap by default.
        ahead: what the same scanner has said already of files taken in.
    """
    if len(files) > FILES_MOST:
        message = f"A request of more than {FILES_MOST} files is not checked."
        refusal = result("size", ENGINE, [Finding("size", "files", Verdict.UNSCANNABLE, "", message)])
        return [_complete([refusal], policy, Verdict.UNSCANNABLE, message) for _ in files]
    started = time.monotonic()
    health = antivirus.health(policy.max_signature_age)
    cases = [Case(file) for file in files]
    with contextlib.ExitStack() as descriptors:
        for case in cases:
            _admit(case, policy)
            if case.descriptor is not None:
                descriptors.callback(os.close, case.descriptor)
        admitted = [case for case in cases if case.descriptor is not None]
        if admitted:
            _look_at(admitted, policy, antivirus, health, sandbox or BubblewrapSandbox(), ahead)
    answers = [_finished(case, policy, health) for case in cases]
    seconds = round(time.monotonic() - started, 3)
    _log.info("checks.done", files=len(files), bytes=sum(file.size for file in files), seconds=seconds)
    return answers


def overall(results: Sequence[CheckResult]) -> Verdict:
    """Return the verdict on a file: the worst of its checks."""
    return worst(answer.verdict for answer in results)


def _admit(case: Case, policy: Policy) -> None:
    """Judge name and size, and open the file when it may be read at all."""
    file = case.file
    case.answers.append(result(names.CHECK, names.ENGINE, names.name_findings(file.name)))
    problem: Finding | None = None
    try:
        # The kernel's answer counts; O_NONBLOCK so that a pipe in its place cannot hold us up.
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        problem = Finding(
            "size", "unreadable", Verdict.ERROR, "", f"The file cannot be opened: {error.strerror}."
        )
    else:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
            problem = Finding("size", "changed", Verdict.ERROR, "", "The file is not what was taken in.")
        elif file.size > policy.max_file_bytes:
            message = f"The file has {file.size} bytes; at most {policy.max_file_bytes} can be scanned."
            problem = Finding("size", "too-large", Verdict.UNSCANNABLE, "", message)
        else:
            case.descriptor = descriptor
        if problem is not None:
            os.close(descriptor)
    case.answers.append(result("size", ENGINE, [problem] if problem else []))


def _look_at(
    cases: list[Case],
    policy: Policy,
    antivirus: Antivirus,
    health: AntivirusHealth,
    sandbox: Sandbox,
    ahead: ScanAhead | None,
) -> None:
    """Run sandbox and scanner over the admitted files, side by side."""
    seconds = policy.seconds_for(sum(case.file.size for case in cases))
    deadline = time.monotonic() + seconds
    job = {
        "limits": asdict(policy.limits()),
        "files": [{"name": case.file.name, "direction": case.file.direction} for case in cases],
    }
    try:
        process = sandbox.start(INSIDE, [case.file.path for case in cases], job, int(seconds))
    except (SandboxUnavailable, OSError, ValueError) as error:
        _log.warning("checks.sandbox_unavailable", error=str(error))
        _no_sandbox(cases, f"The sandbox of the checks could not be started: {error}")
        return
    if process.stdout is None:
        process.kill()
        raise RuntimeError("a sandbox without an output")
    listener = SandboxListener(
        process.stdout, policy, antivirus if health.ok else None, [case.malware for case in cases]
    )
    listener.on_unscannable = lambda number: cases[number].lose()
    watchdog = threading.Timer(seconds, process.kill)
    watchdog.daemon = True
    watchdog.start()
    listening = threading.Thread(
        target=_listen, args=(listener, process), name="checks-listener", daemon=True
    )
    listening.start()
    try:
        if health.ok:
            known_clean = None if ahead is None else partial(ahead.clean, health=health, deadline=deadline)
            scan_originals(cases, policy, antivirus, deadline, known_clean)
        listening.join()
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        listening.join()
    for case, answers in zip(cases, listener.answers, strict=True):
        if answers is None:
            reason = listener.failure or "The sandbox gave no report on this file."
            _no_sandbox([case], reason)
        else:
            case.answers += answers


def _listen(listener: SandboxListener, process: SandboxProcess) -> None:
    """Listen until the sandbox is done; one that breaks the protocol is ended at once."""
    try:
        listener.run()
    except Exception as error:  # noqa: BLE001 (a thread must not die silently: no answer is `error`)
        _log.exception("checks.listener_failed")
        listener.fail(f"Listening to the sandbox failed: {type(error).__name__}.")
    finally:
        process.kill()
        if process.stdout is not None:
            process.stdout.close()


def _no_sandbox(cases: Sequence[Case], reason: str) -> None:
    for case in cases:
        finding = Finding("archive_limits", "sandbox", Verdict.ERROR, "", reason)
        case.answers.append(result("archive_limits", ENGINE, [finding]))
        # The scanner saw the file, but nobody can say which of its members.
        message = "Its members may not have reached the scanner."
        case.malware.add(Finding(MALWARE, "members", Verdict.ERROR, "", message))


def _finished(case: Case, policy: Policy, health: AntivirusHealth) -> list[CheckResult]:
    """Return one answer for each check, every required one among them."""
    answers = list(case.answers)
    if case.descriptor is not None:
        found = list(case.malware.all())
        if not health.ok:
            found.append(Finding(MALWARE, "scanner", health.verdict, "", health.reason))
        elif not case.scanned:
            found.append(Finding(MALWARE, "not-scanned", Verdict.ERROR, "", "clamd did not see this file."))
        answers.append(result(MALWARE, health.engine, found))
        return _complete(answers, policy, Verdict.ERROR, "This check gave no answer.")
    verdict = overall(answers)
    return _complete(answers, policy, verdict, "Not looked at, because the file was not admitted.")


def _complete(
    answers: Sequence[CheckResult], policy: Policy, missing: Verdict, reason: str
) -> list[CheckResult]:
    """Merge answers of the same check, and fill in what a required check did not say."""
    merged: dict[str, CheckResult] = {}
    for answer in answers:
        before = merged.get(answer.check)
        if before is not None:
            answer = CheckResult(  # noqa: PLW2901 (the answer so far)
                answer.check,
                f"{before.engine}, {answer.engine}",
                worst([before.verdict, answer.verdict]),
                before.findings + answer.findings,
            )
        merged[answer.check] = answer
    for check in policy.required_checks:
        if check not in merged:
            merged[check] = result(check, ENGINE, [Finding(check, "no-answer", missing, "", display(reason))])
    return sorted(merged.values(), key=lambda answer: answer.check)
