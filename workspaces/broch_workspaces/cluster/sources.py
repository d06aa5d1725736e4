"""Where the bytes of dataset versions lie, as a zone mounts them: one static read-only volume each.

Each source says what its volume is, whether its files can be shown with shifted owners (id-mapped mounts, needed by
pods in a user namespace of their own), and what makes it read-only before Kubernetes has any say (`credentials`).

Id-mapped mounts: the file systems with FS_ALLOW_IDMAP are listed in mount_setattr(2), and Kubernetes names btrfs, ext4,
xfs, fat, tmpfs and overlayfs ("User Namespaces", kubernetes.io). Not NFS, SMB or Lustre. CephFS has it from Linux 6.7
on, if its servers take part; FUSE from 6.12 on, if the daemon asks for it, which the drivers here do not. What depends
on versions that we do not see counts as no.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, field_validator

Part = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,200}$")]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._/-]{0,200}$")]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,200}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,200}$")]

_LOCKED = ("nosuid", "nodev", "noexec")
"""Options that data of others are mounted with where the file system knows them."""


class SecretRef(BaseModel):
    """Where a storage driver finds its credentials: a Secret outside of all zones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
    namespace: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]

    @field_validator("namespace")
    @classmethod
    def _outside_of_zones(cls, value: str) -> str:
        if value.startswith("zone-"):
            raise ValueError("credentials of a storage do not lie in a zone")
        return value


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id_mapped: ClassVar[bool] = False
    """Whether the file system supports id-mapped mounts (mount_setattr(2)): `hostUsers: false` then works with it."""
    credentials: ClassVar[str] = ""
    """What whoever runs the platform must have seen to, so that not even the node can write."""

    path: str
    """Where below the file system, share or bucket. Every type has a rule of its own."""

    @field_validator("*")
    @classmethod
    def _nothing_above(cls, value: object) -> object:
        if isinstance(value, str) and (".." in PurePosixPath(value).parts or "\0" in value or "," in value):
            raise ValueError("no '..', comma or NUL here")
        return value

    def below(self, name: str) -> Self:
        """Return the source of one folder below.

        Raises:
            pydantic.ValidationError: the name leads elsewhere, or the path becomes too long.
        """
        # Through validation: model_copy(update=...) would take anything.
        return type(self).model_validate({**self.model_dump(), "path": f"{self.path.rstrip('/')}/{name}"})

    def volume(self, handle: str) -> dict[str, Any]:
        """Return what goes into the spec of a PersistentVolume.

        Args:
            handle: unique in the cluster; drivers and kubelet tell volumes apart by it.
        """
        raise NotImplementedError


class HostPathSource(_Source):
    """A folder of the node: for tests and single-node clusters."""

    type: Literal["host-path"] = "host-path"
    path: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._/-]{1,200}$")]
    id_mapped: ClassVar[bool] = True
    credentials: ClassVar[str] = (
        "None: root of the node can write. Mount the folder's file system read-only on the node."
    )

    def volume(self, handle: str) -> dict[str, Any]:
        """Return what goes into the spec of a PersistentVolume."""
        del handle
        return {"hostPath": {"path": self.path, "type": "Directory"}}


class NfsSource(_Source):
    """An NFS export."""

    type: Literal["nfs"] = "nfs"
    server: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]{0,200}$")]
    path: AbsolutePath
    credentials: ClassVar[str] = (
        "Export it read-only (`ro`) to the nodes of zones; Broch writes from other addresses."
    )

    def volume(self, handle: str) -> dict[str, Any]:
        """Return what goes into the spec of a PersistentVolume."""
        del handle
        return {
            "mountOptions": ["ro", *_LOCKED, "nfsvers=4.1"],
            "nfs": {"server": self.server, "path": self.path, "readOnly": True},
        }


class _Csi(_Source):
    """A volume of a CSI driver; which one is part of the code, never of a setting."""

    driver: ClassVar[str]

    def _csi(
        self, handle: str, attributes: dict[str, str], secret: SecretRef | None = None
    ) -> dict[str, Any]:
        csi: dict[str, Any] = {
            "driver": self.driver,
            "readOnly": True,
            "volumeAttributes": attributes,
            "volumeHandle": handle,
        }
        if secret is not None:
            csi["nodeStageSecretRef"] = {"name": secret.name, "namespace": secret.namespace}
        return csi


class S3Source(_Csi):
    """A prefix of an S3 bucket, by Mountpoint for Amazon S3."""

    type: Literal["s3"] = "s3"
    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    path: Part = "datasets"
    """Prefix, without a slash at its ends."""
    region: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{0,30}$")] = ""
    driver: ClassVar[str] = "s3.csi.aws.com"
    credentials: ClassVar[str] = (
        "The driver's role has s3:GetObject and s3:ListBucket on the prefix, and nothing else."
    )

    def volume(self, handle: str) -> dict[str, Any]:
        """Return what goes into the spec of a PersistentVolume."""
        # As user 1000, who is not who mounts: without allow-other nobody else could read.
        options = ["read-only", "allow-other", "uid=1000", "gid=1000", "file-mode=0444", "dir-mode=0555"]
        options.append(f"prefix {self.path.strip('/')}/")
        if self.region:
            options.append(f"region {self.region}")
        return {"mountOptions": options, "csi": self._csi(handle, {"bucketName": self.bucket})}


class EfsSource(_Csi):
    """A folder of an Amazon EFS file system, or of one of its access points. EFS is NFS."""

    type: Literal["efs"] = "efs"
    file_system: Annotated[str, StringConstraints(pattern=r"^fs-[0-9a-f]{8,40}$")]
    access_point: Annotated[str, StringConstraints(pattern=r"^(fsap-[0-9a-f]{8,40})?$")] = ""
    path: AbsolutePath = "/"
    driver: ClassVar[str] = "efs.csi.aws.com"
    credentials: ClassVar[str] = (
        "The file system's policy gives the nodes' role ClientMount alone: no ClientWrite, no ClientRootAccess."
    )

    def volume(self, handle: str) -> dict[str, Any]:
        """Return what goes into the spec of a PersistentVolume."""
        del handle  # the driver reads the place from the handle
        place = f"{self.file_system}:{self.path}"
        if self.access_point:
            place += f":{self.access_point}"
        return {"mountOptions": ["ro", "tls", "iam"], "csi": self._csi(place, {})}


class FsxLustreSource(_Csi):
    """A folder of an Amazon FSx for Lustre file system (Lustre mounts folders below: its manual, "fileset")."""

    type: Literal["fsx-lustre"] = "fsx-lustre"
    dns_name: Host
    mount_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,16}$")]
    path: AbsolutePath = "/"
    driver: ClassVar[str] = "fsx.csi.aws.com"
    credentials: ClassVar[str] = (
        "Lustre knows no read-only client: turn root squash on, so that no node owns the files, and link no export."
    )

    def volume(self, handle: str) -> dict[str, Any]:
        """Return what goes into the spec of a PersistentVolume."""
        where = {"dnsname": self.dns_name, "mountname": f"{self.mount_name}{self.path.rstrip('/')}"}
        return {"mountOptions": ["ro", "flock", *_LOCKED], "csi": self._csi(handle, where)}


class AzureFilesSource(_Csi):
    """A folder of an Azure Files share, by SMB or NFS."""

    type: Literal["azure-files"] = "azure-files"
    account: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{3,24}$")]
    share: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")]
    resource_group: Name
    path: Part = "datasets"
    protocol: Literal["smb", "nfs"] = "nfs"
    secret: SecretRef | None = None
    """With SMB: name and key of the account. NFS shares are opened by network rules."""
    driver: ClassVar[str] = "file.csi.azure.com"
    credentials: ClassVar[str] = (
        "The share is a snapshot, or of an account whose keys only Broch's own identity has; SMB keys always may write."
    )

    def volume(self, handle: str) -> dict[str, Any]:
        """Return what goes into the spec of a PersistentVolume."""
        where = {
            "folderName": self.path,
            "protocol": self.protocol,
            "resourceGroup": self.resource_group,
            "shareName": self.share,
            "storageAccount": self.account,
        }
        smb = ["uid=1000", "gid=1000", "file_mode=0444", "dir_mode=0555", "mfsymlinks", "nobrl"]
        options = ["ro", *_LOCKED, *(smb if self.protocol == "smb" else ["nfsvers=4.1"])]
        return {"mountOptions": options, "csi": self._csi(handle, where, self.secret)}


class AzureBlobSource(_Csi):
    """A folder of a container of Azure Blob Storage, by blobfuse2."""

    type: Literal["azure-blob"] = "azure-blob"
    account: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{3,24}$")]
    container: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")]
    resource_group: Name
    path: Part = "datasets"
    secret: SecretRef | None = None
    """With a SAS token of the rights read and list; without it the nodes' identity is used."""
    driver: ClassVar[str] = "blob.csi.azure.com"
    credentials: ClassVar[str] = (
        "A SAS token with read and list alone, or a node identity with the role Storage Blob Data Reader."
    )

    def volume(self, handle: str) -> dict[str, Any]:
        """Return what goes into the spec of a PersistentVolume."""
        where = {
            "containerName": self.container,
            "protocol": "fuse2",
            "resourceGroup": self.resource_group,
            "storageAccount": self.account,
        }
        options = ["-o ro", "-o allow_other", "--read-only=true", f"--subdirectory={self.path}"]
        return {"mountOptions": options, "csi": self._csi(handle, where, self.secret)}


class CephFsSource(_Csi):
    """A folder of a CephFS file system, by ceph-csi."""

    type: Literal["cephfs"] = "cephfs"
    cluster: Name
    """Id of the Ceph cluster in the driver's own configuration."""
    file_system: Name
    path: AbsolutePath
    secret: SecretRef
    """`userID` and `userKey` of a Ceph user whose capabilities are `mds 'allow r'` and `osd 'allow r'` on this path."""
    driver: ClassVar[str] = "cephfs.csi.ceph.com"
    credentials: ClassVar[str] = (
        "A Ceph user with `mds allow r path=...` and `osd allow r` (`ceph fs authorize ... r`)."
    )

    def volume(self, handle: str) -> dict[str, Any]:
        """Return what goes into the spec of a PersistentVolume."""
        where = {
            "clusterID": self.cluster,
            "fsName": self.file_system,
            "kernelMountOptions": ",".join(("ro", *_LOCKED)),
            "rootPath": self.path,
            "staticVolume": "true",
        }
        return {"mountOptions": ["ro"], "csi": self._csi(handle, where, self.secret)}


type_of_sources = (
    HostPathSource
    | NfsSource
    | S3Source
    | EfsSource
    | FsxLustreSource
    | AzureFilesSource
    | AzureBlobSource
    | CephFsSource
)
DataSource = Annotated[type_of_sources, Field(discriminator="type")]

_ADAPTER: TypeAdapter[Any] = TypeAdapter(DataSource)


def parse_source(value: object) -> DataSource:
    """Read a source from settings or JSON.

    Raises:
        pydantic.ValidationError: it is none that is known, or unsafe.
    """
    source: DataSource = _ADAPTER.validate_python(value)
    return source
