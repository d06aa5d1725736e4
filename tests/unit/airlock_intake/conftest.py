from pathlib import Path

import pytest

from support.intake import Intake, make_intake


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    return make_intake(tmp_path)
