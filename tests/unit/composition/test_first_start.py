"""A first start is whole or it never was."""

import pytest

from broch import first_start
from broch_core.errors import Conflict
from broch_core.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(folder=tmp_path)


def fill(settings):
    (settings.folder / "broch.sqlite").write_bytes(b"half")
    (settings.folder / "datasets").mkdir()
    (settings.folder / "datasets" / "x").touch()
    (settings.folder / "keys").mkdir()


def test_what_a_broken_first_start_left_is_set_aside_whole(settings):
    assert first_start.set_aside_broken(settings) is None
    fill(settings)
    aside = first_start.set_aside_broken(settings)
    assert {path.name for path in aside.iterdir()} == {"broch.sqlite", "datasets"}
    assert (aside / "datasets" / "x").exists()
    assert not (settings.folder / "broch.sqlite").exists()
    assert (settings.folder / "keys").exists(), "no checkpoint was signed yet: the keys can stay"


def test_a_first_start_that_broke_twice_is_still_one(settings):
    for _ in range(3):
        first_start.set_aside_broken(settings)
        fill_again = settings.folder / "broch.sqlite"
        fill_again.write_bytes(b"half")
    assert len(list(settings.folder.glob("unfinished-*"))) == 2
    first_start.done(settings)
    assert first_start.set_aside_broken(settings) is None
    assert fill_again.exists()


def test_a_broch_that_started_once_is_never_set_aside(settings):
    first_start.set_aside_broken(settings)
    fill(settings)
    first_start.done(settings)
    assert first_start.set_aside_broken(settings) is None
    assert not (settings.folder / first_start.MARKER).exists()
    assert (settings.folder / "broch.sqlite").read_bytes() == b"half"


def test_a_database_on_a_server_is_left_alone_with_a_way_out(tmp_path):
    settings = Settings(folder=tmp_path, database_url="postgresql+psycopg://x@db.invalid/x")
    assert first_start.set_aside_broken(settings) is None
    first_start.begin(settings)
    with pytest.raises(Conflict) as caught:
        first_start.set_aside_broken(settings)
    assert str(tmp_path / first_start.MARKER) in caught.value.remedy
