"""What registries say is read as strangers' words: archives, indexes, dates."""

import gzip
import io
import json
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_workspaces.packages.errors import RegistryRefused
from broch_workspaces.packages.registries.conda import find_entries
from broch_workspaces.packages.registries.cran import parse_description, read_description
from support.busy import processor
from support.counts import count
from support.packages import archive

GOOD = b"Package: tidy\nVersion: 1.0\nImports: a,\n    b (>= 2)\nTitle: T: x\n"


def written(tmp_path, data):
    path = tmp_path / "tidy_1.0.tar.gz"
    path.write_bytes(data)
    return path


def test_a_description_is_found_among_other_members(tmp_path):
    path = written(
        tmp_path, archive({"tidy/build/x": b"x" * 5000, "other/DESCRIPTION": b"", "tidy/DESCRIPTION": GOOD})
    )
    assert read_description(path, "tidy") == {
        "Package": "tidy",
        "Version": "1.0",
        "Imports": "a, b (>= 2)",
        "Title": "T: x",
    }


def linked():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as made:
        member = tarfile.TarInfo("tidy/DESCRIPTION")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(member)
    return out.getvalue()


def swollen():
    """Return an archive whose header of names says to have four gigabytes."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, (8 << 30) - 1
    return gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + b"\0" * (4 << 20))


HOSTILE = {
    "nothing": b"",
    "no archive": b"x" * 1000,
    "cut": archive({"tidy/DESCRIPTION": GOOD})[:60],
    "no description": archive({"tidy/x": b"x"}),
    "a link": linked(),
    "another folder": archive({"../tidy/DESCRIPTION": GOOD, "/tidy/DESCRIPTION": GOOD}),
    "a swollen header": swollen(),
    "zeros": gzip.compress(archive({"tidy/x": b""}, "") + b"\0" * 1000),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_an_archive_without_a_description_is_refused(tmp_path, data):
    with pytest.raises(RegistryRefused):
        read_description(written(tmp_path, data), "tidy")


@given(st.binary(max_size=200), st.integers(0, 200))
@settings(max_examples=count("broken archives of R", ci=200, nightly=5000), deadline=None)
def test_a_broken_archive_is_read_or_refused(tmp_path_factory, data, at):
    plain = gzip.decompress(archive({"tidy/DESCRIPTION": GOOD}))
    path = written(tmp_path_factory.mktemp("broken"), gzip.compress(plain[:at] + data + plain[at:]))
    try:
        assert isinstance(read_description(path, "tidy"), dict)
    except RegistryRefused:
        return


@given(st.text())
def test_any_text_is_read_as_fields(text):
    assert all(isinstance(value, str) for value in parse_description(text).values())


def index(**entries):
    return json.dumps({"info": {}, "packages": {}, "packages.conda": entries}, indent=1).encode()


def entry(name="tidy", version="1.0", **more):
    return {"name": name, "version": version, "sha256": "a" * 64, **more}


def test_an_index_is_searched_for_the_files_of_one_version(tmp_path):
    path = tmp_path / "repodata.json"
    path.write_bytes(
        index(
            **{
                "tidy-1.0-py_0.conda": entry(),
                "tidy-1.0-py_1.tar.bz2": entry(depends=["python"]),
                "tidy-1.0.1-py_0.conda": entry(version="1.0.1"),
                "tidy-more-1.0-py_0.conda": entry("tidy-more"),
                # Another package whose name and version add up to the same letters.
                "tidy-1.0-1-py.conda": entry("tidy-1.0", "1"),
                "liar-1.0-0.conda": entry(
                    "liar", summary='"tidy-1.0-evil.conda": {"name": "tidy", "version": "1.0"}'
                ),
                "tidy-1.0-lies.conda": entry("other"),
            }
        )
    )
    found = find_entries(path, "tidy", "1.0")
    assert sorted(found) == ["tidy-1.0-py_0.conda", "tidy-1.0-py_1.tar.bz2"]
    assert found["tidy-1.0-py_1.tar.bz2"]["depends"] == ["python"]


@pytest.mark.parametrize(
    "data", [b"", b"{", b'"tidy-1.0-0.conda": {', b'"tidy-1.0-0.conda": ' + b"{" * 100_000]
)
def test_an_index_that_is_none_has_nothing(tmp_path, data):
    path = tmp_path / "repodata.json"
    path.write_bytes(data)
    assert find_entries(path, "tidy", "1.0") == {}


def test_a_large_index_is_searched_in_seconds(tmp_path):
    path = tmp_path / "repodata.json"
    many = {f"p{n}-1.0-py_0.conda": entry(f"p{n}", depends=["python >=3.9", "numpy"]) for n in range(100_000)}
    path.write_bytes(index(**many))
    with processor() as spent:
        assert list(find_entries(path, "p99999", "1.0")) == ["p99999-1.0-py_0.conda"]
    assert spent.seconds < 10
