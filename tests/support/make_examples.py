"""Make docs/examples anew from a real run: `PYTHONPATH=tests .venv/bin/python -m support.make_examples`.

The table is what the demo's notebook writes; a Broch of its own lets it out, and two reviewers decide on it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import nbclient
import nbformat
import pytest

from broch.demo.datasets import DATASETS
from broch.demo.notebooks import first_look_bytes
from broch.demo.people import TUMOUR_TEXTURE
from support.documented import ROOT
from support.running import running_broch
from support.story import Story

EXAMPLES = ROOT / "docs" / "examples"
TABLE, RECEIPT, TRUST = "table.csv", "receipt.json", "trust.json"
STORY = (
    "broch login --as ada",
    "broch airlock pick tumour-texture project results/table.csv --purpose 'Table 1 of the paper'",
    "broch airlock submit 01JD3W7Z",
    "broch airlock decide 01JD3W7Z table.csv approve --sha256 9f86d081884c --as ruth",
    "broch airlock decide 01JD3W7Z table.csv approve --sha256 9f86d081884c --as tomasz",
    "broch airlock download 01JD3W7Z --to results",
    "broch airlock trust --to results/trust.json",
    "broch verify --trust results/trust.json results/receipt.json results/table.csv",
)


def notebook_table(folder: Path) -> bytes:
    """Run the demo's notebook as its cells say; return the table that it writes."""
    data, home = folder / "data", folder / "home"
    for dataset in DATASETS:
        dataset.build(data / dataset.slug)
    home.mkdir()
    notebook = nbformat.reads(first_look_bytes(TUMOUR_TEXTURE).decode(), as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BROCH_DATA", str(data))
        patch.setenv("BROCH_IMPORTS", str(folder / "imports"))
        patch.setenv("PATH", "/usr/bin:/bin")
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(home))
    return (home / "results" / TABLE).read_bytes()


def main() -> None:
    """Make the three files, and put them in place when they verify."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = notebook_table(folder)
        with running_broch(folder / "broch") as broch, pytest.MonkeyPatch.context() as patch:
            story = Story(broch, folder / "person" / "work", patch)
            results = story.zone("tumour-texture") / "results"
            results.mkdir(mode=0o755)
            (results / TABLE).write_bytes(table)
            (results / TABLE).chmod(0o644)
            printed = [story.run(line) for line in STORY]
            os.chdir(ROOT)
        print(printed[-1])  # noqa: T201 - for the person who runs it
        EXAMPLES.mkdir(exist_ok=True)
        for made in (TABLE, RECEIPT, TRUST):
            shutil.copyfile(story.folder / "results" / made, EXAMPLES / made)


if __name__ == "__main__":
    main()
