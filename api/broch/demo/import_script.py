"""The script of the demo's ingress: a researcher brings it in, it appears in `/imports`, the notebook runs it."""

from __future__ import annotations

from pathlib import Path

CALIBRATION_SCRIPT: Path = Path(__file__).with_name("calibration.py")
"""The file to upload. It is ordinary, readable Python without dependencies, as a reviewer likes it."""

PURPOSE = (
    "Calibration in bands of at least ten people, to check predicted risks. Plain Python, no dependencies."
)
"""What to write into the ingress request."""
