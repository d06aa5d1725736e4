"""Blobs in a bucket of S3, or of anything that speaks it. Keys: `PREFIX/<class>/<project>/<2 hex>/<sha256>`.

Every object is sent with its SHA-256, which the server compares: what is stored is what was hashed. Files being written
wait on this machine's disk. The bucket wants no versions here: bytes whose retention is over must be gone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from broch_core import faults
from broch_core.blobs import BlobClass, chunks, require_name
from broch_core.errors import NotFound, Unavailable
from broch_core.ids import new_id
from broch_core.incoming import IncomingBytes

log = structlog.get_logger()

LARGEST = 5 << 30
"""Bytes of one object that S3 takes or copies in one call; more than may cross the airlock."""
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
_DELETE_MOST = 1000


class S3Writer(IncomingBytes):
    """Bytes on their way in, in a file of this machine until `commit` sends them."""

    def __init__(self, blobs: S3Blobs, project_id: str, limit: int) -> None:
        super().__init__(blobs.temporary, min(limit, LARGEST))
        self._blobs = blobs
        self._project_id = project_id

    def commit(self, class_: BlobClass) -> str:
        """Make the blob durable in `class_`; return its SHA-256."""
        sha256 = self.seal()
        self._blobs.adopt(self._path, self._project_id, class_, sha256)
        return sha256


class S3Blobs:
    """Blobs below one prefix of a bucket.

    Args:
        bucket: its name.
        prefix: of all keys; empty for none.
        scratch: folder of this machine for files on their way in and out.
        endpoint: of another server than AWS.
        ca: certificate authority of that server, PEM.
        kms_key: encrypt with this key (SSE-KMS); unset: as the bucket says.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        scratch: Path,
        *,
        endpoint: str | None = None,
        ca: Path | None = None,
        kms_key: str | None = None,
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._sealed: dict[str, str] = (
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
        )
        self.uploads = scratch / "uploads"
        self.temporary = scratch / "tmp"
        for folder in (self.uploads, self.temporary):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A session of our own: the library's shared one remembers whose keys it saw first.
        import boto3  # noqa: PLC0415 - one machine needs none, and it takes long

        common: Any = Config(max_pool_connections=32, s3={"addressing_style": "path" if endpoint else "auto"})
        session = boto3.Session()
        patient, quick = (
            common.merge(
                Config(
                    connect_timeout=connect,
                    read_timeout=read,
                    retries={"mode": "standard", "total_max_attempts": attempts},
                )
            )
            for connect, read, attempts in ((5, 60, 5), (2, 3, 1))
        )
        self._client, self._asking = (
            session.client("s3", endpoint_url=endpoint, verify=str(ca) if ca else None, config=config)
            for config in (patient, quick)
        )
        """For bytes, and for the question whether all is well, which somebody waits for."""

    def writer(self, project_id: str, limit: int) -> S3Writer:
        """Open a writer for at most `limit` bytes."""
        return S3Writer(self, project_id, limit)

    def open(self, project_id: str, class_: BlobClass, sha256: str) -> BinaryIO:
        """Open a blob for reading from its start.

        Raises:
            NotFound: there is none.
            Unavailable: the server does not answer.
        """
        body: BinaryIO = self._ask(
            self._client.get_object, Key=self._key(project_id, class_, sha256), ChecksumMode="ENABLED"
        )["Body"]
        return body

    def exists(self, project_id: str, class_: BlobClass, sha256: str) -> bool:
        """Tell whether a blob is in a class.

        Raises:
            Unavailable: the server does not answer.
        """
        key = self._key(project_id, class_, sha256)
        try:
            self._ask(self._client.head_object, Key=key)
        except NotFound:
            return False
        return True

    @contextmanager
    def local(self, project_id: str, class_: BlobClass, sha256: str) -> Iterator[Path]:
        """Fetch a blob into a file of this machine, hashed on the way.

        Raises:
            NotFound: there is none.
            Unavailable: the server does not answer, or sent other bytes.
        """
        path = self.temporary / new_id()
        digest = hashlib.sha256()
        try:
            with path.open("xb") as file, self.open(project_id, class_, sha256) as body:
                for data in _received(body):
                    digest.update(data)
                    file.write(data)
            if digest.hexdigest() != sha256:
                log.error("blobs.altered", project=project_id, sha256=sha256)
                raise Unavailable("The store sent other bytes than were put there.")
            path.chmod(0o440)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def lasting(self, project_id: str, class_: BlobClass, sha256: str) -> Path | None:
        """Say that there are no such files: nothing is scanned ahead here."""
        del project_id, class_, sha256
        return None

    def copy(self, project_id: str, sources: Mapping[str, BlobClass], target: BlobClass) -> None:
        """Put blobs (SHA-256 -> class) into another class too, inside the store; done already is done.

        Raises:
            NotFound: one is in neither class.
            Unavailable: the server does not answer.
        """
        for sha256, source in sources.items():
            faults.point("blob.link")
            try:
                self._ask(
                    self._client.copy_object,
                    Key=self._key(project_id, target, sha256),
                    CopySource={"Bucket": self._bucket, "Key": self._key(project_id, source, sha256)},
                    ChecksumAlgorithm="SHA256",
                    **self._sealed,
                )
            except NotFound:
                if not self.exists(project_id, target, sha256):
                    raise
            faults.point("blob.linked")

    def adopt(self, path: Path, project_id: str, class_: BlobClass, sha256: str) -> None:
        """Send a complete file; durable when the server has acknowledged it.

        Raises:
            Unavailable: the server does not answer, or got other bytes.
        """
        faults.point("blob.name")
        with path.open("rb") as file:
            self._ask(
                self._client.put_object,
                Key=self._key(project_id, class_, sha256),
                Body=file,
                ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
                **self._sealed,
            )
        faults.point("blob.named")

    def delete(self, project_id: str, class_: BlobClass, *sha256s: str) -> None:
        """Delete blobs; done already is done.

        Raises:
            Unavailable: the server does not answer, or kept some.
        """
        keys = [self._key(project_id, class_, sha256) for sha256 in sha256s]
        for start in range(0, len(keys), _DELETE_MOST):
            faults.point("blob.delete")
            answer = self._ask(
                self._client.delete_objects,
                Delete={
                    "Objects": [{"Key": key} for key in keys[start : start + _DELETE_MOST]],
                    "Quiet": True,
                },
            )
            if refused := [one for one in answer.get("Errors", ()) if one.get("Code") not in _MISSING]:
                raise Unavailable(f"The store did not delete {len(refused)} files: {refused[0].get('Code')}.")

    def sweep(self) -> None:
        """Remove what dead writers left on this machine."""
        for left in self.temporary.iterdir():
            left.unlink()

    def check(self) -> None:
        """Ask whether the bucket is there and ours, for `/readyz`.

        Raises:
            Unavailable: it is not.
        """
        try:
            self._ask(self._asking.head_bucket)
        except NotFound:
            raise Unavailable(f"There is no bucket '{self._bucket}'.") from None

    def _key(self, project_id: str, class_: BlobClass, sha256: str) -> str:
        require_name(project_id, sha256)
        return f"{self._prefix}{class_.value}/{project_id}/{sha256[:2]}/{sha256}"

    def _ask(self, call: Callable[..., Any], **arguments: object) -> Any:
        try:
            return call(Bucket=self._bucket, **arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _MISSING:
                raise NotFound("The bytes of this file are no longer kept.") from None
            log.warning("blobs.refused", code=code)
            raise Unavailable(f"The store of files refused ({code}).") from error
        except BotoCoreError as error:
            log.warning("blobs.away", error=type(error).__name__)
            raise Unavailable("The store of files does not answer.") from error


def _received(body: BinaryIO) -> Iterator[bytes]:
    """Read an answer piece by piece; one that is cut is told in our own words."""
    try:
        yield from chunks(body)
    except BotoCoreError as error:
        raise Unavailable("The store of files broke off.") from error
