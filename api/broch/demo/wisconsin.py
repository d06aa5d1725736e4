"""The Wisconsin diagnostic breast cancer table (569 biopsies) from scikit-learn's package, with a header."""

from __future__ import annotations

import csv

from broch.demo import packaged
from broch.demo.tabular import csv_bytes

PACKAGE = "scikit-learn"
_SOURCE = "sklearn/datasets/data/breast_cancer.csv"
_SOURCE_SHA256 = "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed"
_DESCRIPTION_FILE = "sklearn/datasets/descr/breast_cancer.rst"

SLUG = "breast-cancer-wisconsin"
TITLE = "Breast cancer Wisconsin (diagnostic)"
DESCRIPTION = (
    "569 fine needle aspirates of breast masses: thirty measures of the cell nuclei in each digitised image, and "
    "the diagnosis (212 malignant, 357 benign). No missing values, no identifiers."
)
LICENCE = (
    'Distributed with scikit-learn, whose licence is BSD 3-Clause. Its documentation says: "This is a copy of UCI ML '
    'Breast Cancer Wisconsin (Diagnostic) datasets." and names no other terms. Both texts are among the files.'
)
CITATION = (
    "W.N. Street, W.H. Wolberg and O.L. Mangasarian. Nuclear feature extraction for breast tumor diagnosis. "
    "IS&T/SPIE 1993 International Symposium on Electronic Imaging: Science and Technology, volume 1905, pages "
    "861-870, San Jose, CA, 1993. Creators: Dr. William H. Wolberg, W. Nick Street, Olvi L. Mangasarian. "
    "Donor: Nick Street. November, 1995."
)

_MEASURES: tuple[tuple[str, str, str], ...] = (
    ("radius", "image scale", "mean of distances from center to points on the perimeter"),
    ("texture", "grey level", "standard deviation of gray-scale values"),
    ("perimeter", "image scale", "perimeter of the nucleus"),
    ("area", "image scale squared", "area of the nucleus"),
    ("smoothness", "", "local variation in radius lengths"),
    ("compactness", "", "perimeter^2 / area - 1.0"),
    ("concavity", "", "severity of concave portions of the contour"),
    ("concave_points", "", "number of concave portions of the contour"),
    ("symmetry", "", "symmetry of the nucleus"),
    ("fractal_dimension", "", "'coastline approximation' - 1"),
)
"""Name, unit, meaning as scikit-learn's description gives them (it states no units; lengths are in the scale of the digitised image)."""

_SUMMARIES: tuple[tuple[str, str], ...] = (
    ("mean", "mean over the nuclei of one image"),
    ("se", "standard error over the nuclei of one image"),
    ("worst", "mean of the three largest values in one image"),
)

FEATURES: tuple[str, ...] = tuple(
    f"{measure}_{summary}" for summary, _ in _SUMMARIES for measure, _, _ in _MEASURES
)
"""The thirty numeric columns, in the order of scikit-learn's table."""

_DIAGNOSIS = {"0": "malignant", "1": "benign"}


def files() -> dict[str, bytes]:
    """Return the files of the dataset: relative path to content.

    Raises:
        DemoDataError: scikit-learn is missing or has other bytes than those described.
    """
    return {
        "clinical.csv": _table(packaged.read_pinned(PACKAGE, _SOURCE, _SOURCE_SHA256)),
        "data_dictionary.csv": csv_bytes(("column", "type", "unit", "meaning"), _dictionary()),
        "LICENSE-scikit-learn.txt": packaged.licence(PACKAGE),
        "SOURCE-scikit-learn.rst": packaged.read(PACKAGE, _DESCRIPTION_FILE),
        "README.md": _readme().encode(),
    }


def _table(source: bytes) -> bytes:
    """Put the diagnosis in words and a header on top; the numbers stay as scikit-learn writes them."""
    rows = list(csv.reader(source.decode("ascii").splitlines()))[1:]  # the first line counts rows and columns
    return csv_bytes(("diagnosis", *FEATURES), ((_DIAGNOSIS[row[-1]], *row[:-1]) for row in rows))


def _dictionary() -> list[tuple[str, str, str, str]]:
    numbers = [
        (f"{measure}_{summary}", "number", unit, f"{meaning}; {how}")
        for summary, how in _SUMMARIES
        for measure, unit, meaning in _MEASURES
    ]
    return [("diagnosis", "category", "", "malignant or benign"), *numbers]


def _readme() -> str:
    return f"""# {TITLE}

{DESCRIPTION}

`clinical.csv` has one row for each biopsy. `data_dictionary.csv` explains its 31 columns; three summaries
(`_mean`, `_se`, `_worst`) of ten measures of the cell nuclei, and `diagnosis`.

## Source and terms

The table of scikit-learn {packaged.version(PACKAGE)} (`load_breast_cancer`): the numbers as they are there, with a
header and the diagnosis in words. {LICENCE}
See `SOURCE-scikit-learn.rst` and `LICENSE-scikit-learn.txt`.

{CITATION}

## Care

One row is one person's biopsy. The table is open, but in this demo it is handled as if it were not: rows stay
inside, only aggregates over at least ten people are proposed for release.
"""
