"""What `broch audit verify` and `mirror` do beyond asking the server: believe keys and bytes that were kept, nobody's word."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from broch.cli import output
from broch.cli.audit_source import ApiSource
from broch.cli.configured import load_settings
from broch.cli.failure import Failure, Misused
from broch_core.audit.exports.checking import check_against, check_export
from broch_core.audit.exports.exporter import ExportReport, bring_up_to_date, check_continues
from broch_core.audit.exports.places import ExportPlace, open_place
from broch_core.audit.verification import VerifyResult, verify_database
from broch_core.errors import DomainError
from broch_core.proof import ProofError, Purpose, TrustFile, verify_checkpoint
from broch_core.proof.notes import NOTE_LIMIT
from broch_core.store.engine import make_engine


def read_note(path: Path | None) -> str | None:
    """Read a checkpoint that was kept.

    Raises:
        Misused: it cannot be read.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return file.read(NOTE_LIMIT).decode()
    except (OSError, UnicodeError) as error:
        raise Misused(f"{path} cannot be read: {error}") from None


def check_kept(source: ApiSource, note: str, trust: TrustFile) -> str:
    """Check here that the server's log continues a checkpoint that was kept; return a sentence.

    Raises:
        Failure: it does not.
    """
    try:
        kept = verify_checkpoint(note, trust.origin, trust.of(Purpose.CHECKPOINT))[0]
        newest = source.newest()
        if newest is None:
            raise Failure(f"The log is EMPTY; the checkpoint that you kept speaks of {kept.size} records.")
        head = verify_checkpoint(newest, trust.origin, trust.of(Purpose.CHECKPOINT))[0]
        check_continues(source, kept, head)
    except (DomainError, ProofError) as error:
        raise Failure(f"The log does NOT continue the checkpoint that you kept: {said(error)}") from None
    return f"Checked here: the log of {head.size} records continues the {kept.size} of the checkpoint that you kept."


def check_place(address: str, trust: TrustFile, source: ApiSource | None) -> str:
    """Check an export, and with a source that its log continues it; return a sentence.

    Raises:
        Failure: one is not as it was signed.
    """
    with tempfile.TemporaryDirectory(prefix="broch-export-") as scratch, _told():
        place = open_place(address, scratch=Path(scratch))
        found = check_export(place, trust) if source is None else check_against(source, place, trust)
    if not found.ok:
        at = "" if found.first_bad is None else f" The first bad record is number {found.first_bad}."
        raise Failure(f"NOT as it was signed: {found.reason}{at}")
    return found.reason


def mirror(source: ApiSource, address: str, trust: TrustFile) -> ExportReport:
    """Bring a copy of the server's log up to date.

    Raises:
        Failure: the log is not the one that was copied before, or the place refuses.
    """
    with tempfile.TemporaryDirectory(prefix="broch-export-") as scratch, _told():
        place: ExportPlace = open_place(address, scratch=Path(scratch))
        return bring_up_to_date(source, place, trust)


def check_database(
    folder: Path | None, trust: TrustFile, kept: str | None, *, only_newer: bool
) -> VerifyResult:
    """Verify the history in a database without its server.

    Args:
        folder: of the Broch; by default that of the settings, whose database is taken.
        trust: keys to believe.
        kept: a checkpoint that was kept.
        only_newer: recompute only what came after it.
    """
    engine = make_engine(load_settings(folder=folder).store_url())
    try:
        return verify_database(
            engine,
            trust,
            trusted=kept,
            only_newer=only_newer,
            progress=_bar() if sys.stderr.isatty() else None,
        )
    finally:
        engine.dispose()


def said(error: DomainError | ProofError) -> str:
    """Return what an error says, with what to do."""
    if isinstance(error, DomainError):
        return f"{error.detail} {error.remedy or ''}".strip()
    return str(error)


def _bar() -> Callable[[int, int], None]:
    def show(done: int, size: int) -> None:
        end = "\n" if done == size else ""
        sys.stderr.write(f"\r{done:,} of {size:,} records  {done / size:4.0%}{end}")
        sys.stderr.flush()

    return show


class _told:  # noqa: N801 - reads as a word where it stands
    """Says in one sentence what a domain error says."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DomainError | ProofError):
            raise Failure(said(error)) from None


def report(result: VerifyResult) -> str:
    """Return what a verification says.

    Raises:
        Failure: the history is not as it was signed.
    """
    if result.ok:
        return output.plain(result.reason)
    at = f" First bad record: {result.first_bad}." if result.first_bad else ""
    raise Failure(f"The log is NOT as it was signed: {result.reason}{at}")
