"""The two open datasets of the demo, and how their files come to be. Same packages, same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from broch.demo import dicom_samples, wisconsin


@dataclass(frozen=True)
class DemoDataset:
    """One dataset: what a catalogue says of it, and its files."""

    slug: str
    """Name of the folder under `/data`."""
    title: str
    description: str
    licence: str
    """Terms of use and whose they are; the full texts are among the files."""
    citation: str
    files: Callable[[], Mapping[str, bytes]]
    """Relative path (forward slashes) to content. Raises `DemoDataError` when a package has other bytes."""

    def build(self, target: Path) -> None:
        """Write the files below `target`, which must be an empty folder or not exist yet.

        Raises:
            DemoDataError: a package is missing or has other bytes than those described; nothing is written.
            FileExistsError: `target` holds something already.
        """
        files = self.files()
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise FileExistsError(f"{target} is not empty.")
        for name, content in sorted(files.items()):
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)


DICOM_SAMPLES = DemoDataset(
    slug=dicom_samples.SLUG,
    title=dicom_samples.TITLE,
    description=dicom_samples.DESCRIPTION,
    licence=dicom_samples.LICENCE,
    citation=dicom_samples.CITATION,
    files=dicom_samples.files,
)

WISCONSIN = DemoDataset(
    slug=wisconsin.SLUG,
    title=wisconsin.TITLE,
    description=wisconsin.DESCRIPTION,
    licence=wisconsin.LICENCE,
    citation=wisconsin.CITATION,
    files=wisconsin.files,
)

DATASETS: tuple[DemoDataset, ...] = (DICOM_SAMPLES, WISCONSIN)
