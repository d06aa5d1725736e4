"""The threat model names tests that exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[2]
TEXT = (TESTS.parent / "docs" / "threat-model.md").read_text()


def test_every_test_that_the_threat_model_names_exists():
    paths = set(re.findall(r"\b((?:unit|integration|browser)/[\w/]+(?:\.py)?)", TEXT))
    assert len(paths) > 20
    assert [path for path in sorted(paths) if not (TESTS / path).exists()] == []
    known = "\n".join(file.read_text() for file in TESTS.rglob("test_*.py"))
    names = set(re.findall(r"`(?:[\w/.]+::)?(test_\w+)`", TEXT))
    assert len(names) > 3
    assert [name for name in sorted(names) if f"def {name}(" not in known] == []
    files = {file.name for file in TESTS.rglob("test_*.py")}
    assert [name for name in sorted(set(re.findall(r"\btest_\w+\.py", TEXT))) if name not in files] == []
