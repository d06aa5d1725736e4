"""The demo's datasets are real, described truly, and the same bytes each time."""

import csv
import hashlib
import io
import re

import numpy as np
import pydicom
import pytest
from sklearn.datasets import load_breast_cancer

from broch.demo import dicom_samples, packaged, wisconsin
from broch.demo.datasets import DATASETS, DICOM_SAMPLES, WISCONSIN
from broch.demo.packaged import DemoDataError

CLINICAL_SHA256 = "b457b64615c1ea28c393aeeb3674e23ea388937783fbbb33fece373f203320bf"


def _hashes(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _rows(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda d: d.slug)
def test_a_dataset_builds_the_same_bytes_twice(dataset, tmp_path):
    dataset.build(tmp_path / "one")
    dataset.build(tmp_path / "two")
    assert _hashes(tmp_path / "one") == _hashes(tmp_path / "two") != {}


def test_the_clinical_table_has_the_bytes_of_the_release(tmp_path):
    WISCONSIN.build(tmp_path / "w")
    assert _hashes(tmp_path / "w")["clinical.csv"] == CLINICAL_SHA256


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda d: d.slug)
def test_a_dataset_says_what_it_is_and_on_which_terms(dataset):
    files = dataset.files()
    readme = files["README.md"].decode()
    assert dataset.title in readme
    assert dataset.licence in readme
    assert dataset.citation in readme
    assert all(name in files for name in re.findall(r"`((?:LICENSE|SOURCE)\S*)`", readme))
    assert re.fullmatch(r"[a-z0-9-]{1,40}", dataset.slug)


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda d: d.slug)
def test_what_is_quoted_as_terms_stands_in_the_packages_own_text(dataset):
    files = dataset.files()
    source = next(content for name, content in files.items() if name.startswith("SOURCE")).decode()
    plain = " ".join(source.split())
    quotes = re.findall(r'"([^"]+)"', dataset.licence)
    assert quotes
    assert all(quote in plain for quote in quotes)


def test_the_citation_of_the_biopsies_is_the_one_scikit_learn_gives():
    source = " ".join(WISCONSIN.files()["SOURCE-scikit-learn.rst"].decode().split())
    paper, _, creators = WISCONSIN.citation.partition(" Creators: ")
    assert paper in source
    assert creators.split(". Donor")[0] in source


def test_the_licence_texts_are_the_packages_own():
    assert b"MIT license" in DICOM_SAMPLES.files()["LICENSE-pydicom.txt"]
    assert b"Copyright (c) 2006-2016 Mathieu Malaterre" in DICOM_SAMPLES.files()["SOURCES-pydicom.txt"]
    assert b"BSD 3-Clause License" in WISCONSIN.files()["LICENSE-scikit-learn.txt"]


@pytest.mark.parametrize(
    ("dataset", "table"),
    [(DICOM_SAMPLES, "index.csv"), (WISCONSIN, "clinical.csv")],
    ids=["dicom", "wisconsin"],
)
def test_the_data_dictionary_explains_every_column_and_no_other(dataset, table):
    files = dataset.files()
    explained = _rows(files["data_dictionary.csv"])
    assert [row["column"] for row in explained] == list(_rows(files[table])[0])
    assert all(row["type"] and row["meaning"] for row in explained)


@pytest.mark.parametrize("file", dicom_samples.FILES, ids=lambda f: f.name)
def test_an_image_is_readable_without_a_codec_and_as_described(file, tmp_path):
    DICOM_SAMPLES.build(tmp_path / "d")
    ds = pydicom.dcmread(tmp_path / "d" / "images" / file.name)
    pixels = ds.pixel_array
    assert not ds.file_meta.TransferSyntaxUID.is_compressed
    assert (ds.Modality, *pixels.shape[:2]) == (file.modality, file.rows, file.columns)
    assert np.unique(pixels).size > 1


def test_no_image_is_there_twice():
    pixels = {
        pydicom.dcmread(io.BytesIO(c)).pixel_array.tobytes()
        for n, c in DICOM_SAMPLES.files().items()
        if n.endswith(".dcm")
    }
    assert len(pixels) == len(dicom_samples.FILES)


def test_the_clinical_table_is_scikit_learns_table():
    rows = _rows(WISCONSIN.files()["clinical.csv"])
    truth = load_breast_cancer()
    numbers = np.array([[float(row[name]) for name in wisconsin.FEATURES] for row in rows])
    assert np.array_equal(numbers, truth.data)
    assert [row["diagnosis"] for row in rows] == [truth.target_names[value] for value in truth.target]
    for ours, theirs in zip(wisconsin.FEATURES, truth.feature_names, strict=True):
        measure, summary = ours.rsplit("_", 1)
        words = measure.replace("_", " ")
        assert theirs == (f"{words} error" if summary == "se" else f"{summary} {words}")


def test_other_bytes_than_described_are_refused_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(packaged, "read", lambda _package, _path: b"something else")
    with pytest.raises(DemoDataError, match="has changed"):
        DICOM_SAMPLES.build(tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_a_missing_package_or_file_is_named():
    with pytest.raises(DemoDataError, match="needs the package no-such-package-here"):
        packaged.read("no-such-package-here", "a")
    with pytest.raises(DemoDataError, match="has no file pydicom/data/none"):
        packaged.read("pydicom", "pydicom/data/none")


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(FileExistsError):
        WISCONSIN.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
