"""What may be done to the log and its keys: erase personal texts, renew keys. Both are records in it."""

from __future__ import annotations

from datetime import timedelta

from broch_api.audit.schemas import ErasureRequest, ErasureView, KeyView, RotationRequest
from broch_core.actions import Action
from broch_core.actors import Actor
from broch_core.audit.erasure import erase_texts_of_person, erase_texts_of_record
from broch_core.audit.log import AuditLog
from broch_core.audit.record import AuditSubject
from broch_core.errors import NotFound
from broch_core.proof.keyfiles import OVERLAP
from broch_core.rules import require
from broch_core.store.unit import Store
from broch_core.tables.people import Person


class AuditUpkeep:
    """Erasure and rotation."""

    def __init__(self, store: Store, log: AuditLog) -> None:
        self._store = store
        self._log = log

    def erase(self, actor: Actor, wanted: ErasureRequest) -> ErasureView:
        """Erase personal texts of a person or a record; the digests in the leaves stay.

        Raises:
            Denied: the actor is no platform admin.
            NotFound: there is no such person or record.
        """
        require(actor, Action.AUDIT_ERASE)
        with self._store.write() as change:
            if wanted.record is not None:
                return ErasureView(erased=erase_texts_of_record(change, actor.person_id, wanted.record))
            if wanted.person is None or change.session.get(Person, wanted.person) is None:
                raise NotFound
            return ErasureView(erased=erase_texts_of_person(change, actor.person_id, wanted.person))

    def rotate(self, actor: Actor, wanted: RotationRequest) -> KeyView:
        """Renew a signing key. The log gets a record and with it, within a second, a checkpoint of the key in force.

        Raises:
            Denied: the actor is no platform admin.
        """
        require(actor, Action.AUDIT_ROTATE)
        overlap = timedelta(0) if wanted.stolen else OVERLAP
        # A key is files, which no transaction takes back: that it was asked for is on record before they are touched.
        with self._store.write() as change:
            asked = {"purpose": str(wanted.purpose), "stolen": wanted.stolen, "asked": True}
            change.audit(actor.person_id, Action.AUDIT_ROTATE, AuditSubject("key"), facts=asked)
        key = self._log.renew_key(wanted.purpose, overlap=overlap)
        with self._store.write() as change:
            change.audit(
                actor.person_id,
                Action.AUDIT_ROTATE,
                AuditSubject("key", key.key_id),
                facts={"purpose": str(wanted.purpose), "stolen": wanted.stolen},
            )
        self._log.sequence()
        return KeyView(purpose=key.purpose, key_id=key.key_id, not_before=key.not_before)
