"""The threat models name tests that exist."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]


@pytest.mark.parametrize(("document", "most_paths", "most_names"), [("threat-model.md", 20, 3), ("threat-model-cluster.md", 15, 0)])  # fmt: skip
def test_every_test_that_a_threat_model_names_exists(document: str, most_paths: int, most_names: int):
    text = (TESTS.parent / "docs" / document).read_text()
    paths = set(re.findall(r"\b((?:unit|integration|browser|cluster)/[\w/]+(?:\.py)?)", text))
    assert len(paths) > most_paths
    assert [path for path in sorted(paths) if not (TESTS / path).exists()] == []
    known = "\n".join(file.read_text() for file in TESTS.rglob("test_*.py"))
    names = set(re.findall(r"`(?:[\w/.]+::)?(test_\w+)`", text))
    assert len(names) >= most_names
    assert [name for name in sorted(names) if f"def {name}(" not in known] == []
    files = {file.name for file in TESTS.rglob("test_*.py")}
    assert [name for name in sorted(set(re.findall(r"\btest_\w+\.py", text))) if name not in files] == []
