"""What goes wrong on an API server, and what people are told of it."""

from __future__ import annotations

from broch_workspaces.cluster.controller.kinds import Ref


class ClusterError(Exception):
    """Something went wrong on the cluster."""


class Temporary(ClusterError):
    """Tried again by itself.

    Args:
        message: plain words.
        delay: seconds to wait at least; None: the queue's own pace.
    """

    def __init__(self, message: str, delay: float | None = None) -> None:
        super().__init__(message)
        self.delay = delay


class Permanent(ClusterError):
    """Stays so until a person does something; the message says what."""


class Unreachable(Temporary):
    """No answer: whether a write was done is unknown."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The cluster does not answer ({reason}); this is tried again.")


class NotLeading(ClusterError):
    """Another controller may act now: this one must not."""


class ApiError(ClusterError):
    """The API server said no.

    Args:
        status: of HTTP.
        reason: Kubernetes' word for it (`AlreadyExists`, `Conflict`, `Expired`).
        message: its sentence; for the log, never for people.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


def expired(error: ApiError) -> bool:
    """Return whether a list or watch must begin anew (410, or its words in an event)."""
    return error.status == 410 or error.reason in {"Expired", "Gone"}


def fixed(error: ApiError) -> bool:
    """Return whether a write was refused because what is there cannot be changed so.

    Of claims the server says that the spec is immutable, or which size it cannot be less than; storage that cannot be
    resized is said by its admission (`PersistentVolumeClaimResize`), with 403.
    """
    if error.status == 403:
        return "can be resized" in error.message or "can be expanded" in error.message
    return error.status == 422 and ("immutable" in error.message or "can not be less" in error.message)


def plain(error: ApiError, ref: Ref) -> Temporary | Permanent:
    """Say what a refused write means, and whether trying again can help."""
    what = ref.kind.words
    if error.status == 403:
        return _forbidden(error.message, what)
    if error.status in {400, 413, 415, 422}:
        return Permanent(f"The cluster refuses this zone's {what} as they are set; ask your administrator.")
    if error.status == 404 and ref.kind.extension and not _of_namespace(error):
        return Permanent(
            f"The zone's {what} needs {ref.kind.extension}, which this cluster does not have; "
            "ask your administrator to install it, or to take the queue out of Broch's settings."
        )
    if error.status == 404:
        return Temporary(f"Something that a zone's {what} need is not there yet.", delay=1)
    return Temporary("The cluster is busy; this is tried again.")


def _of_namespace(error: ApiError) -> bool:
    # Of a kind that the server does not know it says no more than that there is no such page.
    return "namespace" in error.message


def _forbidden(message: str, what: str) -> Temporary | Permanent:
    if "exceeded quota" in message:
        return Temporary("The project's quota is full: imports wait until a workspace stops.", delay=5)
    if "being terminated" in message:
        return Temporary("An earlier zone of this project is still being removed.", delay=1)
    if "ValidatingAdmissionPolicy" in message:
        return Permanent(f"A rule of the cluster refuses this zone's {what}; ask your administrator.")
    if "resize" in message:
        return Permanent(
            "The storage of this cluster cannot change the size of a volume; ask your administrator."
        )
    return Permanent(f"Broch may not make a zone's {what} on this cluster; ask your administrator.")
