"""The catalogue of datasets and their versions."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from broch_api.datasets.folder import VersionFolders
from broch_api.datasets.schemas import (
    DatasetCreate,
    DatasetDetail,
    DatasetView,
    FilePage,
    FileView,
    VersionView,
)
from broch_api.people.schemas import PersonRef
from broch_core.actions import Action
from broch_core.actors import Actor, PlatformRole
from broch_core.audit.record import AuditSubject
from broch_core.errors import Conflict, Invalid, NotFound
from broch_core.lifecycles import VersionStatus
from broch_core.proof.canonical import canonical
from broch_core.rules import Resource, require
from broch_core.store.unit import Store
from broch_core.tables.datasets import Dataset, DatasetFile, DatasetVersion
from broch_core.tables.people import Person, PersonRole
from broch_core.web.paging import Page, page_of


class DatasetCatalogue:
    """Lists and registers datasets and versions."""

    def __init__(self, store: Store, folders: VersionFolders) -> None:
        self._store = store
        self._folders = folders

    def list(
        self, actor: Actor, *, before: str | None, limit: int, slug: str | None = None
    ) -> Page[DatasetView]:
        """Return datasets, newest first."""
        require(actor, Action.DATASET_LIST)
        query = (
            select(Dataset, Person)
            .join(Person, col(Person.id) == Dataset.owner_id)
            .order_by(col(Dataset.id).desc())
            .limit(limit + 1)
        )
        if before is not None:
            query = query.where(Dataset.id < before)
        if slug is not None:
            query = query.where(Dataset.slug == slug)
        with self._store.read() as session:
            rows = session.exec(query).all()
        return page_of(rows, limit, lambda row: dataset_view(*row), lambda row: row[0].id)

    def detail(self, actor: Actor, dataset_id: str) -> DatasetDetail:
        """Return a dataset with its versions.

        Raises:
            NotFound: there is none.
        """
        require(actor, Action.DATASET_READ, Resource("dataset", dataset_id))
        with self._store.read() as session:
            dataset = find_dataset(session, dataset_id)
            owner = session.get_one(Person, dataset.owner_id)
            versions = session.exec(
                select(DatasetVersion)
                .where(DatasetVersion.dataset_id == dataset_id)
                .order_by(col(DatasetVersion.number).desc())
            ).all()
        return DatasetDetail(
            **dataset_view(dataset, owner).model_dump(), versions=[version_view(v) for v in versions]
        )

    def version(self, actor: Actor, version_id: str) -> VersionView:
        """Return a version.

        Raises:
            NotFound: there is none.
        """
        require(actor, Action.DATASET_READ, Resource("version", version_id))
        with self._store.read() as session:
            return version_view(find_version(session, version_id))

    def files(self, actor: Actor, version_id: str, *, after: str | None, limit: int) -> FilePage:
        """Return files of a version in the order of their paths.

        Raises:
            NotFound: there is no such version.
        """
        require(actor, Action.DATASET_READ, Resource("version", version_id))
        query = select(DatasetFile).where(DatasetFile.version_id == version_id)
        query = query.order_by(DatasetFile.path).limit(limit + 1)
        if after is not None:
            query = query.where(DatasetFile.path > after)
        with self._store.read() as session:
            find_version(session, version_id)
            rows = session.exec(query).all()
        shown = [FileView(path=row.path, size=row.size, sha256=row.sha256) for row in rows[:limit]]
        return FilePage(items=shown, next=shown[-1].path if len(rows) > limit else None)

    def manifest(self, actor: Actor, version_id: str) -> bytes:
        """Return the manifest of a sealed version: the very bytes that `manifest_sha256` is of.

        Raises:
            NotFound: there is no such version.
            Conflict: it is still open.
        """
        require(actor, Action.DATASET_READ, Resource("version", version_id))
        with self._store.read() as session:
            if find_version(session, version_id).status is VersionStatus.OPEN:
                raise Conflict("The version is open: its manifest is made when it is sealed.")
            return manifest_of(files_of(session, version_id))

    def create(self, actor: Actor, body: DatasetCreate) -> DatasetView:
        """Register a dataset.

        Raises:
            Denied: the actor is no data steward.
            Invalid: the owner is unknown, or no information asset owner.
            Conflict: the slug is taken.
        """
        require(actor, Action.DATASET_CREATE)
        with self._store.write() as change:
            session = change.session
            if session.exec(select(Dataset.id).where(Dataset.slug == body.slug)).first() is not None:
                raise Conflict(f"There is a dataset '{body.slug}' already.", field="slug")
            owner = session.exec(
                select(Person)
                .join(PersonRole, col(PersonRole.person_id) == Person.id)
                .where(
                    Person.handle == body.owner,
                    col(Person.disabled_at).is_(None),
                    PersonRole.role == PlatformRole.ASSET_OWNER,
                )
            ).first()
            if owner is None:
                raise Invalid(f"Nobody with the handle '{body.owner}' is an asset owner.", field="owner")
            dataset = Dataset(**body.model_dump(exclude={"owner"}), owner_id=owner.id)
            session.add(dataset)
            change.audit(
                actor.person_id,
                Action.DATASET_CREATE,
                AuditSubject("dataset", dataset.id),
                facts={"owner": owner.id},
                personal={"slug": dataset.slug, "title": dataset.title},
            )
        return dataset_view(dataset, owner)

    def create_version(self, actor: Actor, dataset_id: str) -> VersionView:
        """Open the next version of a dataset; one is open at a time.

        Raises:
            Denied: the actor is no data steward.
            NotFound: there is no such dataset.
            Conflict: a version is open already.
        """
        require(actor, Action.VERSION_CREATE, Resource("dataset", dataset_id))
        with self._store.write() as change:
            session = change.session
            find_dataset(session, dataset_id, lock=True)
            newest = session.exec(
                select(DatasetVersion)
                .where(DatasetVersion.dataset_id == dataset_id)
                .order_by(col(DatasetVersion.number).desc())
            ).first()
            if newest is not None and newest.status is VersionStatus.OPEN:
                raise Conflict(
                    f"Version {newest.number} is still open.", remedy="Seal it before you open another one."
                )
            row = DatasetVersion(dataset_id=dataset_id, number=newest.number + 1 if newest else 1)
            session.add(row)
            self._folders.create(row.id)
            change.audit(
                actor.person_id,
                Action.VERSION_CREATE,
                AuditSubject("version", row.id),
                facts={"dataset": dataset_id, "number": row.number},
            )
        return version_view(row)

    def asset_owners(self, actor: Actor) -> Sequence[PersonRef]:
        """Return who can answer for a dataset: for the form of a steward."""
        require(actor, Action.DATASET_CREATE)
        with self._store.read() as session:
            rows = session.exec(
                select(Person)
                .join(PersonRole, col(PersonRole.person_id) == Person.id)
                .where(PersonRole.role == PlatformRole.ASSET_OWNER, col(Person.disabled_at).is_(None))
                .order_by(Person.display_name)
            ).all()
        return [PersonRef.of(person) for person in rows]


def find_dataset(session: Session, dataset_id: str, *, lock: bool = False) -> Dataset:
    """Return a dataset; the catalogue is open to everybody who is signed in.

    Raises:
        NotFound: there is none.
    """
    query = select(Dataset).where(Dataset.id == dataset_id)
    dataset = session.exec(query.with_for_update() if lock else query).first()
    if dataset is None:
        raise NotFound
    return dataset


def find_version(session: Session, version_id: str, *, lock: bool = False) -> DatasetVersion:
    """Return a version.

    Raises:
        NotFound: there is none.
    """
    query = select(DatasetVersion).where(DatasetVersion.id == version_id)
    row = session.exec(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound
    return row


def files_of(session: Session, version_id: str) -> Sequence[DatasetFile]:
    """Return the files of a version."""
    return session.exec(select(DatasetFile).where(DatasetFile.version_id == version_id)).all()


def manifest_of(files: Sequence[DatasetFile]) -> bytes:
    """Return the manifest: canonical JSON (RFC 8785) of `{path, size, sha256}`, sorted by the bytes of the path."""
    ordered = sorted(files, key=lambda row: row.path.encode())
    return canonical([{"path": row.path, "size": row.size, "sha256": row.sha256} for row in ordered])


def dataset_view(dataset: Dataset, owner: Person) -> DatasetView:
    """Show a dataset."""
    return DatasetView(
        id=dataset.id,
        slug=dataset.slug,
        title=dataset.title,
        description=dataset.description,
        licence=dataset.licence,
        owner=PersonRef.of(owner),
        created_at=dataset.created_at,
    )


def version_view(row: DatasetVersion) -> VersionView:
    """Show a version."""
    return VersionView.model_validate(row, from_attributes=True)
