"""What the API server's refusal of a pod means for the person who wanted a workspace. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_QUOTA = re.compile(
    r"exceeded quota: [^,]+, requested: (?P<asked>\S+), used: (?P<used>\S+), limited: (?P<limit>\S+)"
)
_POLICY = re.compile(r"ValidatingAdmissionPolicy '[^']*'.*? denied request: (?P<why>.{1,300})", re.DOTALL)
_UNITS = {
    "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
}  # fmt: skip
_REMEDY = "Stop a workspace or ask your administrator."
AWAY = "The cluster does not answer at the moment. Nothing is lost: open the workspace again in a minute."
NO_RIGHTS = "The project's zone is not ready for workspaces yet. Wait a minute; if it stays so, tell your administrator."

_SAID = {
    "violates PodSecurity": "The cluster's security rules refuse this workspace. Tell your administrator.",
    "is being terminated": "The project's zone is being removed, so nothing starts in it any more.",
}
"""Parts of the API server's messages."""
_BY_STATUS = {
    401: NO_RIGHTS,
    403: NO_RIGHTS,
    404: "The project's zone is not there yet. Wait a minute; if it stays so, tell your administrator.",
    **dict.fromkeys((429, 500, 502, 503, 504), AWAY),
}


def amount(quantity: str) -> float:
    """Return a Kubernetes quantity as a number.

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]{0,2})", quantity)
    if found is None or (found[2] and found[2] not in _UNITS):
        raise ValueError("no quantity")
    return float(found[1]) * _UNITS.get(found[2], 1)


def in_bytes(size: float) -> str:
    """Return bytes in words, `4 GiB`."""
    for unit, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB")):
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size:.0f} bytes"


def _in_number(size: float) -> str:
    return f"{size:.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class _Resource:
    """One resource of a quota, in words."""

    name: str
    """Many of it; as it follows an amount."""
    countable: bool = False
    """Said as "all 2 GPUs", not as an amount that is left."""
    show: Callable[[float], str] = _in_number


def _resource(key: str) -> _Resource:
    name = key.removeprefix("requests.").removeprefix("limits.").removeprefix("count/")
    if name == "pods":
        return _Resource("workspaces", countable=True)
    if "/" in name:
        kind = name.partition("/")[2]
        return _Resource("GPUs" if kind == "gpu" else f"GPU slices ({kind})", countable=True)
    return {
        "memory": _Resource(" of memory", show=in_bytes),
        "cpu": _Resource(" cores"),
        "ephemeral-storage": _Resource(" of disk for /tmp", show=in_bytes),
    }.get(name, _Resource(f" of {name[:60]}"))


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in text.split(",") if "=" in pair)


def _quota_in_words(asked: Mapping[str, str], used: Mapping[str, str], limit: Mapping[str, str]) -> str:
    # What is named first where several are full: what people can do something about.
    keys = sorted(limit, key=lambda key: (not _resource(key).countable, key.endswith("pods"), key))
    key = keys[0]
    resource = _resource(key)
    want, have, most = (amount(one.get(key, "0")) for one in (asked, used, limit))
    if most == 0:
        if resource.name == "workspaces":
            return "No workspace may run in this project at present. Ask your administrator."
        return f"This project has no {resource.name}. Choose another profile or ask your administrator."
    left = resource.show(max(most - have, 0))
    if not resource.countable:
        return (
            f"This workspace needs {resource.show(want)}{resource.name}, and this project has {left} of "
            f"{resource.show(most)} left. {_REMEDY}"
        )
    if have >= most and resource.name == "workspaces":
        return (
            f"This project may run {resource.show(most)} workspaces at once, and all are running. {_REMEDY}"
        )
    if have >= most:
        return f"All {resource.show(most)} {resource.name} of this project are in use. {_REMEDY}"
    return (
        f"This workspace needs {resource.show(want)} {resource.name}, and this project has {left} of "
        f"{resource.show(most)} left. {_REMEDY}"
    )


def refusal_in_words(status: int, message: str) -> str:
    """Return what a person is told when the API server does not make a pod.

    Args:
        status: of its answer.
        message: of its Status object.
    """
    quota = _QUOTA.search(message)
    if quota is not None:
        try:
            return _quota_in_words(_pairs(quota["asked"]), _pairs(quota["used"]), _pairs(quota["limit"]))
        except (ValueError, IndexError):
            return f"This project has used up what it may use. {_REMEDY}"
    policy = _POLICY.search(message)
    if policy is not None:
        return f"The cluster's rules refuse this workspace: {policy['why'].strip().rstrip('.')}. Tell your administrator."
    known = next((text for part, text in _SAID.items() if part in message), None)
    return known or _BY_STATUS.get(status, "The cluster refuses this workspace. Tell your administrator.")
