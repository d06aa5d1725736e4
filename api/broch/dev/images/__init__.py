"""Images of the services and of workspaces, without a container engine (`./broch images`, docs/images.md)."""

from broch.dev.images.build import USUAL, build
from broch.dev.images.locks import make as lock
from broch.dev.images.locks import problems as lock_problems
from broch.dev.images.oci import OciImage
from broch.dev.images.spec import UnknownImage

__all__ = ["USUAL", "OciImage", "UnknownImage", "build", "lock", "lock_problems"]
