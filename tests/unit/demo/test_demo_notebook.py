"""The worked notebook is valid, runs from top to bottom, and asks to release nothing about few people."""

import csv
import os
import shutil
from pathlib import Path

import nbclient
import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from PIL import Image

from broch.demo.datasets import DATASETS, WISCONSIN
from broch.demo.import_script import CALIBRATION_SCRIPT
from broch.demo.notebooks import first_look_bytes
from broch.demo.people import HONEST_ODDS, PROJECTS, TUMOUR_TEXTURE


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Both datasets as a zone would show them under /data."""
    folder = tmp_path_factory.mktemp("data")
    for dataset in DATASETS:
        dataset.build(folder / dataset.slug)
    return folder


# Stands where the zone's command stands, and writes down how it was called.
RECORDER = '#!/bin/sh\nfor word in "$@"; do echo "$word"; done > called-with\necho "Draft made."\n'


def _run(project, home: Path, data: Path, imports: Path, commands: Path | None = None):
    notebook = nbformat.reads(first_look_bytes(project).decode(), as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BROCH_DATA", str(data))
        patch.setenv("BROCH_IMPORTS", str(imports))
        patch.setenv("PATH", os.pathsep.join([*([str(commands)] if commands else []), "/usr/bin", "/bin"]))
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute(cwd=str(home))
    return notebook


def _printed(notebook):
    return "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))


@pytest.fixture(scope="module")
def ada(data, tmp_path_factory):
    """Ada's run with the script in /imports: (home, executed notebook)."""
    home, imports = tmp_path_factory.mktemp("ada"), tmp_path_factory.mktemp("imports")
    shutil.copy(CALIBRATION_SCRIPT, imports / "calibration.py")
    commands = tmp_path_factory.mktemp("commands")
    (commands / "airlock").write_text(RECORDER)
    (commands / "airlock").chmod(0o755)
    return home, _run(TUMOUR_TEXTURE, home, data, imports, commands)


@pytest.fixture(scope="module")
def mateo(data, tmp_path_factory):
    """Mateo's run, without images in /data and without the script: (home, executed notebook)."""
    home, own = tmp_path_factory.mktemp("mateo"), tmp_path_factory.mktemp("data-mateo")
    shutil.copytree(data / WISCONSIN.slug, own / WISCONSIN.slug)
    return home, _run(HONEST_ODDS, home, own, home / "no-imports")


def _table(home):
    with (home / "results" / "table.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("project", PROJECTS, ids=lambda p: p.slug)
def test_the_notebook_is_valid_and_comes_without_outputs(project):
    notebook = nbformat.reads(first_look_bytes(project).decode(), as_version=4)
    nbformat.validate(notebook)
    assert project.name in notebook.cells[0].source
    assert all(
        not cell.outputs and cell.execution_count is None
        for cell in notebook.cells
        if cell.cell_type == "code"
    )
    assert "airlock submit results/table.csv results/plot.png" in notebook.cells[-1].source
    assert first_look_bytes(project) == first_look_bytes(project)


def test_a_project_without_images_gets_a_notebook_without_images():
    assert b"dicom" in first_look_bytes(TUMOUR_TEXTURE)
    assert b"dicom" not in first_look_bytes(HONEST_ODDS)
    assert b"<!--" not in first_look_bytes(TUMOUR_TEXTURE) + first_look_bytes(HONEST_ODDS)


def test_the_images_are_shown_and_measured(ada):
    _, notebook = ada
    pictures = [
        out
        for cell in notebook.cells
        for out in cell.get("outputs", [])
        if "image/png" in out.get("data", {})
    ]
    assert len(pictures) == 2
    tables = [
        out.data["text/plain"]
        for c in notebook.cells
        for out in c.get("outputs", [])
        if "text/html" in out.get("data", {})
    ]
    assert any("CT_small.dcm" in t and "entropy" in t and "liver_1frame" not in t for t in tables)


def test_the_table_holds_no_row_of_a_person_and_no_small_count(ada, data):
    rows = _table(ada[0])
    assert 20 < len(rows) < 60
    assert set(rows[0]) == {"statistic", "measure", "group", "n", "value"}
    assert all(int(row["n"]) >= 10 and int(row["n"]) % 5 == 0 for row in rows)
    assert not any(row["statistic"] in {"min", "max"} for row in rows)
    assert b"CT_small" not in (ada[0] / "results" / "table.csv").read_bytes()


def test_the_model_works_and_its_table_agrees_with_the_data(ada):
    values = {(row["statistic"], row["measure"], row["group"]): float(row["value"]) for row in _table(ada[0])}
    assert 0.95 < values["auc", "model", "test"] <= 1
    assert 0.95 < values["auc_cross_validation_mean", "model", "training"] <= 1
    # Means by class of the whole table, known from the literature on it.
    assert values["mean", "radius_mean", "malignant"] == pytest.approx(17.5, abs=0.05)
    assert values["mean", "radius_mean", "benign"] == pytest.approx(12.1, abs=0.05)


def test_the_plot_is_a_picture_of_fixed_size(ada):
    with Image.open(ada[0] / "results" / "plot.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (800, 500))
        assert "Software" not in picture.info
        assert len(set(picture.convert("RGB").resize((80, 50)).tobytes())) > 10


def test_the_same_data_gives_the_same_bytes_in_another_project(ada, mateo):
    assert (ada[0] / "results" / "plot.png").read_bytes() == (mateo[0] / "results" / "plot.png").read_bytes()
    brier = [row for row in _table(ada[0]) if row["statistic"] == "brier_cross_validation"]
    assert len(brier) == 1
    assert [row for row in _table(ada[0]) if row not in brier] == _table(mateo[0])


def test_the_script_runs_when_it_was_brought_in_and_is_not_needed(ada, mateo):
    assert "Brier score" in _printed(ada[1])
    assert "No calibration.py" in _printed(mateo[1])


def test_in_a_zone_the_last_cell_submits_both_files_with_a_purpose(ada):
    home, notebook = ada
    *words, purpose = (home / "called-with").read_text().splitlines()
    assert words == ["submit", "results/table.csv", "results/plot.png", "--purpose"]
    assert purpose
    assert all((home / word).is_file() for word in words[1:3])
    assert "Draft made." in _printed(notebook)


def test_outside_a_zone_the_last_cell_says_so(mateo):
    assert "outside a Broch zone" in _printed(mateo[1])


def test_too_few_people_stop_the_notebook_before_it_writes(data, tmp_path):
    few = tmp_path / "data" / WISCONSIN.slug
    few.mkdir(parents=True)
    lines = (data / WISCONSIN.slug / "clinical.csv").read_text().splitlines()
    malignant = [line for line in lines if line.startswith("malignant")][:9]
    benign = [line for line in lines if line.startswith("benign")]
    (few / "clinical.csv").write_text("\n".join([lines[0], *malignant, *benign]) + "\n")
    with pytest.raises(CellExecutionError, match="too few to publish"):
        _run(HONEST_ODDS, tmp_path, tmp_path / "data", tmp_path / "none")
    assert not list((tmp_path / "results").iterdir())
