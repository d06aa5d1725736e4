"""Real files through the real airlock of a running Broch."""

import base64
import io
import json
import tarfile
import zipfile

import pytest

from broch.demo import calibration
from broch_airlock.checks.clamd_config import eicar
from integration.up.up_acts import await_ready, draft, outcome, submit


def zipped(name, content):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return held.getvalue()


def tarred(name, content):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return held.getvalue()


def notebook(content):
    data = {"image/png": base64.b64encode(content).decode()}
    output = {"output_type": "display_data", "data": data, "metadata": {}}
    cell = {
        "cell_type": "code",
        "source": "",
        "metadata": {},
        "execution_count": 1,
        "outputs": [output],
    }
    return json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [cell]}).encode()


HIDDEN = {
    "plain": ("notes.txt", eicar()),
    "in a zip": ("code.zip", zipped("notes.txt", eicar())),
    "in a zip in a tar.gz": ("code.tar.gz", tarred("inner.zip", zipped("notes.txt", eicar()))),
    "in the output of a notebook": ("look.ipynb", notebook(eicar())),
}


def test_a_clean_script_goes_to_review(broch, ada):
    await_ready(broch)
    with open(calibration.__file__, "rb") as file:  # noqa: PTH123 - bytes as they are on disk
        request = draft(ada, {"calibration.py": file.read()})
    submit(ada, request)
    found = outcome(ada, request)
    assert found["status"] == "in_review", found
    assert [file["verdict"] for file in found["file_list"]] == ["clean"]


@pytest.mark.parametrize("where", HIDDEN)
def test_malware_is_quarantined_wherever_it_hides(ada, where):
    name, content = HIDDEN[where]
    request = draft(ada, {name: content, "innocent.py": b"print(1)\n"})
    submit(ada, request)
    found = outcome(ada, request)
    assert found["status"] == "quarantined", found
    assert {file["name"]: file["verdict"] for file in found["file_list"]}[name] == "blocked"
    assert found["message"]
