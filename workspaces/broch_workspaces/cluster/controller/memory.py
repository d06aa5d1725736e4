"""What the controller remembers of each project: as little as it takes, since there may be ten thousand of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from broch_workspaces.cluster.spec import ZonePhase, ZoneReport, ZoneSpec


class Specs:
    """What zones shall be, by project, as JSON: models of two datasets and two homes take six times as much."""

    def __init__(self) -> None:
        self._texts: dict[str, bytes] = {}

    def take(self, spec: ZoneSpec) -> tuple[bool, ZoneSpec | None]:
        """Keep a spec. Returns whether it is another than before, and if so, which one that was."""
        project, text = spec.project_id.lower(), spec.model_dump_json().encode()
        before = self._texts.get(project)
        if before == text:
            return False, None
        self._texts[project] = text
        return True, None if before is None else ZoneSpec.model_validate_json(before)

    def get(self, project: str) -> ZoneSpec | None:
        """Return what a project's zone shall be; None: nothing is known of it."""
        text = self._texts.get(project)
        return None if text is None else ZoneSpec.model_validate_json(text)

    def pop(self, project: str) -> None:
        """Forget a project."""
        self._texts.pop(project, None)

    def clear(self) -> None:
        """Forget all."""
        self._texts.clear()

    def __contains__(self, project: str) -> bool:
        return project in self._texts

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


class Told(NamedTuple):
    """What is remembered of a report that the control plane took."""

    digest: str
    """Of the spec that it was about."""
    phase: ZonePhase
    whole: int
    """64 bits of all of it."""

    @classmethod
    def of(cls, report: ZoneReport) -> Told:
        """Return what is remembered of a report."""
        return cls(report.digest, report.phase, hash(report.model_dump_json()))
