"""What people see of retention: when files will be deleted, that they were, and the certificate of it."""

from __future__ import annotations

from sqlmodel import Session, select

from broch_airlock.facts import reach_request
from broch_airlock.retention.policy import term_of
from broch_airlock.retention.schemas import RetentionView
from broch_airlock.tables import AirlockRequest, Deletion
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.errors import Conflict
from broch_core.settings import Settings
from broch_core.store.unit import Store


class CertificateDesk:
    """Gives deletion certificates to those who may read the receipt of the same request."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def certificate(self, actor: Actor, request_id: str) -> str:
        """Return the deletion certificate of a request.

        Raises:
            NotFound: there is no such request, or the actor may not know that there is.
            Conflict: nothing of it was deleted by retention, or the certificate is being made.
        """
        with self._store.read() as session:
            request = reach_request(session, actor, Action.AIRLOCK_RECEIPT, request_id)
            deletion = deletion_of(session, request.id)
        if deletion is None:
            raise Conflict(
                "There is no deletion certificate: the files of this request have not reached the end of their "
                "retention.",
                state=request.status.value,
            )
        if deletion.certificate is None:
            raise Conflict("The files are being deleted.", remedy="Try again in a minute.")
        return deletion.certificate


def deletion_of(session: Session, request_id: str) -> Deletion | None:
    """Return the deletion of a request's bytes, if it has begun."""
    return session.exec(select(Deletion).where(Deletion.request_id == request_id)).first()


def retention_view(session: Session, request: AirlockRequest, settings: Settings) -> RetentionView | None:
    """Return what retention does to a request; None while it is under way, or when it ended without it."""
    deletion = deletion_of(session, request.id)
    if deletion is not None:
        return RetentionView(
            storage_class=deletion.blob_class,
            deletes_at=None,
            deleted_at=deletion.deleted_at,
            certified=deletion.certificate is not None,
        )
    term = term_of(session, request, settings)
    if term is None:
        return None
    return RetentionView(
        storage_class=term.blob_class, deletes_at=term.ends_at, deleted_at=None, certified=False
    )
