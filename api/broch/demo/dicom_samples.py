"""Six real medical images from pydicom's own test files, byte for byte.

Chosen: readable with numpy alone (no JPEG codec), a picture of a patient or drawn on one, large enough to look
at. Left out: phantoms and test patterns, copies of the same picture in another encoding, files broken on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass

from broch.demo import packaged
from broch.demo.tabular import csv_bytes, markdown_table

PACKAGE = "pydicom"
_FOLDER = "pydicom/data/test_files"

SLUG = "dicom-samples"
TITLE = "DICOM sample images"
DESCRIPTION = (
    "Six real images in the format of the scanners: CT of the spine, two MR (one with a liver lesion), two "
    "ultrasound, and a liver segmentation. Small (some were cropped or downsized by pydicom's authors), varied, with "
    "the headers that real data has."
)
LICENCE = (
    "pydicom's README of its test files says: \"I believe there is no restriction on using any of these files in "
    "this manner.\" The image from GDCM is under GDCM's BSD-style licence; pydicom itself is under the MIT licence. "
    "All three texts are among the files."
)
CITATION = (
    "pydicom contributors, test files of pydicom. Originals: NEMA, DICOM Working Group 4 compressed samples; GDCM "
    "(Mathieu Malaterre, CREATIS); dcmqi (Andrey Fedorov, QIICR); pydicom issue 205."
)


@dataclass(frozen=True)
class DicomFile:
    """One image: what its header says, what a person sees, where it comes from."""

    name: str
    """File name in the package and in the dataset."""
    sha256: str
    modality: str
    """DICOM (0008,0060): CT, MR, US, SEG."""
    rows: int
    """Height, pixels."""
    columns: int
    """Width, pixels."""
    shows: str
    origin: str


FILES: tuple[DicomFile, ...] = (
    DicomFile(
        "CT_small.dcm",
        "3dd31e5cc835b3f2cdd46c9da1982f59251e78518fefa8163d914631c66437d6",
        "CT",
        128,
        128,
        "vertebra in cross-section",
        "downsized from CT1_UNC, NEMA DICOM WG-04",
    ),
    DicomFile(
        "MR_small.dcm",
        "3f27d1c22f1a66e80d7bb7c911e8610fd0bb70325a76746a7adb1c0ddefcf2bb",
        "MR",
        64,
        64,
        "soft tissue, fine detail",
        "downsized from MR1_UNC, NEMA DICOM WG-04",
    ),
    DicomFile(
        "examples_overlay.dcm",
        "112539bc17c0e281987397e827dff9e99890109866d570f08761f83b8f55c277",
        "MR",
        300,
        484,
        "abdomen with a lesion in the liver",
        "MR-SIEMENS-DICOM-WithOverlays.dcm of GDCM, cropped",
    ),
    DicomFile(
        "examples_palette.dcm",
        "c6f5b60e1711d6009f7a944873969d4c8d4fcbd6ad96099a3a1a20f32a95a2bb",
        "US",
        350,
        800,
        "palette colour, text in the pixels",
        "OBXXXX1A.dcm of pydicom issue 205, cropped",
    ),
    DicomFile(
        "examples_rgb_color.dcm",
        "bdd7f166ccef2dbd7ea9fc601ac25811f45aa623493b86cec0979b47109b83d4",
        "US",
        240,
        320,
        "lymph node, power Doppler, text in the pixels",
        "US1_UNCR, NEMA DICOM WG-04, cropped",
    ),
    DicomFile(
        "liver_1frame.dcm",
        "8ac3546185d0c18c193438b47b16c4ef323f0ebe0e8fd071ee1e6d43edef1978",
        "SEG",
        512,
        512,
        "segmentation of a liver, one bit a pixel",
        "dcmqi example by Andrey Fedorov, first frame",
    ),
)

INDEX_HEADER = ("file", "modality", "rows", "columns", "shows", "origin", "sha256")

DICTIONARY: tuple[tuple[str, str, str, str], ...] = (
    ("file", "text", "", "Name of the image in the folder images/."),
    ("modality", "code", "", "DICOM (0008,0060): CT, MR, US (ultrasound), SEG (segmentation)."),
    ("rows", "integer", "pixels", "Height, DICOM (0028,0010)."),
    ("columns", "integer", "pixels", "Width, DICOM (0028,0011)."),
    ("shows", "text", "", "What a person sees in the image."),
    ("origin", "text", "", "Where pydicom's authors took the image from."),
    ("sha256", "hex", "", "SHA-256 of the file."),
)
"""Column of `index.csv`, type, unit, meaning."""


def files() -> dict[str, bytes]:
    """Return the files of the dataset: relative path to content.

    Raises:
        DemoDataError: pydicom is missing or has other bytes than those described.
    """
    content = {
        f"images/{file.name}": packaged.read_pinned(PACKAGE, f"{_FOLDER}/{file.name}", file.sha256)
        for file in FILES
    }
    rows = [(f.name, f.modality, str(f.rows), str(f.columns), f.shows, f.origin, f.sha256) for f in FILES]
    content["index.csv"] = csv_bytes(INDEX_HEADER, rows)
    content["data_dictionary.csv"] = csv_bytes(("column", "type", "unit", "meaning"), DICTIONARY)
    content["LICENSE-pydicom.txt"] = packaged.licence(PACKAGE)
    content["SOURCES-pydicom.txt"] = packaged.read(PACKAGE, f"{_FOLDER}/README.txt")
    content["README.md"] = _readme().encode()
    return content


def _readme() -> str:
    table = markdown_table(("file", "modality", "size", "shows"), [_line(file) for file in FILES])
    return f"""# {TITLE}

{DESCRIPTION}

{table}
`index.csv` lists them with origin and SHA-256; `data_dictionary.csv` explains its columns.

## Source and terms

Test files of pydicom {packaged.version(PACKAGE)}, unchanged. {LICENCE}
See `SOURCES-pydicom.txt` (origin of every file, GDCM's licence) and `LICENSE-pydicom.txt`.

{CITATION}

## Care

pydicom's authors say: "In some cases, the original files have been binary edited to replace anything that looks like
a real patient name". Two ultrasound images show text *in the pixels* (a hospital, a date): removing header fields does
not remove that.
"""


def _line(file: DicomFile) -> tuple[str, str, str, str]:
    return (file.name, file.modality, f"{file.columns} x {file.rows}", file.shows)
