"""Lock files: what each format asks for, what is said of the rest, and that nothing in a file does harm."""

import base64
import json
import random
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_workspaces.packages.locks import LARGEST_LOCK, LockKind, parse_lock
from broch_workspaces.packages.locks.lock import MOST_ENTRIES, MOST_PROBLEMS
from broch_workspaces.packages.spec import Ecosystem
from support.busy import processor
from support.counts import count

A, B = "a" * 64, "b" * 64
SHA512 = "sha512-" + base64.b64encode(b"\x07" * 64).decode()


def parsed(name, text):
    return parse_lock(name, textwrap.dedent(text).encode())


def asked(lock):
    return [(one.wanted.name, one.wanted.version) for one in lock.wanted]


REQUIREMENTS = f"""\
    # made by pip-compile
    --index-url https://elsewhere.example/x  # machine-path: an example
    numpy==2.1.0 \\
        --hash=sha256:{A} \\
        --hash=sha256:{B}
        # via pandas
    Flask_Cors[async] == 6.0.1 ; python_version < "3.12"
    requests>=2
    -r other.txt
    git+https://example.org/x.git
    local @ file:///tmp/x
    star==1.*
"""


def test_requirements_are_pins_with_their_digests_and_the_rest_is_said_by_line():
    lock = parsed("requirements.txt", REQUIREMENTS)
    assert lock.kind is LockKind.REQUIREMENTS
    assert asked(lock) == [("numpy", "2.1.0"), ("flask-cors", "6.0.1")]
    assert lock.wanted[0].digests == (f"sha256:{A}", f"sha256:{B}")
    assert lock.wanted[0].line == 3
    assert [problem.line for problem in lock.problems] == [2, 8, 9, 10, 11, 12]
    assert "Pin it with '=='" in lock.problems[1].text


def test_pylock_is_read_as_pep_751_writes_it():
    lock = parsed(
        "pylock.toml",
        f"""\
        lock-version = "1.0"
        created-by = "pip"
        [[packages]]
        name = "numpy"
        version = "2.1.0"
        [[packages.wheels]]
        name = "numpy-2.1.0-cp312-cp312-linux_x86_64.whl"
        url = "https://elsewhere.example/n.whl"
        [packages.wheels.hashes]
        sha256 = "{A}"
        [[packages]]
        name = "mine"
        [packages.directory]
        path = "."
        """,
    )
    assert lock.kind is LockKind.PYLOCK
    assert asked(lock) == [("numpy", "2.1.0")]
    assert lock.wanted[0].digests == (f"sha256:{A}",)
    assert [str(problem) for problem in lock.problems] == ["Line 11: 'mine' is not from PyPI."]


def test_uv_lock_is_read_without_the_project_itself():
    lock = parsed(
        "uv.lock",
        f"""\
        version = 1
        [[package]]
        name = "mine"
        version = "0.1.0"
        source = {{ virtual = "." }}
        [[package]]
        name = "numpy"
        version = "2.1.0"
        source = {{ registry = "https://index.example/pypi" }}
        sdist = {{ url = "https://x.example/n.tar.gz", hash = "sha256:{A}", size = 5 }}
        wheels = [{{ url = "https://x.example/n.whl", hash = "sha256:{B}" }}]
        [[package]]
        name = "forked"
        version = "1"
        source = {{ git = "https://x.example/f.git" }}
        """,
    )
    assert asked(lock) == [("numpy", "2.1.0")]
    assert lock.wanted[0].digests == (f"sha256:{B}", f"sha256:{A}")
    assert [problem.line for problem in lock.problems] == [12]


@pytest.mark.parametrize("version", [2, 3])
def test_package_lock_is_read_with_scopes_nesting_and_other_names(version):
    packages = {
        "": {"name": "mine"},
        "node_modules/left-pad": {"version": "1.3.0", "integrity": f"sha1-AAAA {SHA512}"},
        "node_modules/@types/node": {"version": "22.0.0", "integrity": SHA512},
        "node_modules/a/node_modules/left-pad": {"version": "1.2.0"},
        "node_modules/alias": {"name": "real", "version": "1.0.0", "integrity": SHA512},
        "node_modules/local": {"link": True, "resolved": "tools"},
        "node_modules/forked": {"version": "1.0.0", "resolved": "git+ssh://git@x.example/a.git#1"},
        "tools": {"version": "1.0.0"},
    }
    lock = parse_lock(
        "package-lock.json", json.dumps({"lockfileVersion": version, "packages": packages}, indent=1).encode()
    )
    assert asked(lock) == [
        ("left-pad", "1.3.0"),
        ("@types/node", "22.0.0"),
        ("left-pad", "1.2.0"),
        ("real", "1.0.0"),
    ]
    assert lock.wanted[0].digests == ("sha512:" + "07" * 64,)
    assert lock.wanted[0].wanted.ecosystem is Ecosystem.NPM
    assert [problem.text for problem in lock.problems] == ["'forked' is not from the npm registry."]
    assert lock.problems[0].line is not None


def test_a_package_lock_of_npm_6_says_how_to_make_it_anew():
    lock = parsed("package-lock.json", '{"lockfileVersion": 1, "dependencies": {}}')
    assert "npm 7 or later" in lock.problems[0].text


def test_a_conda_list_is_told_from_requirements_by_its_first_word():
    lock = parsed(
        "spec.txt",
        f"""\
        # platform: linux-64
        @EXPLICIT
        https://conda.example.org/conda-forge/linux-64/numpy-base-1.26.4-py312_0.conda#{"c" * 32}
        https://repo.anaconda.com/pkgs/main/noarch/tzdata-2024a-h04d1e81_0.tar.bz2#sha256:{A}
        https://conda.example.org/conda-forge/linux-64/nothing
        """,
    )
    assert lock.kind is LockKind.CONDA_EXPLICIT
    assert [(one.wanted.channel, *pair) for one, pair in zip(lock.wanted, asked(lock), strict=True)] == [
        ("conda-forge", "numpy-base", "1.26.4"),
        ("main", "tzdata", "2024a"),
    ]
    assert lock.wanted[0].digests == ()
    assert lock.wanted[1].digests == (f"sha256:{A}",)
    assert [problem.line for problem in lock.problems] == [5]


CONDA_LOCK = f"""\
version: 1
metadata: {{channels: []}}
package:
- name: numpy
  version: 1.26.4
  manager: conda
  platform: linux-64
  url: https://conda.example.org/conda-forge/linux-64/numpy-1.26.4-py312_0.conda
  hash: {{md5: x, sha256: {A}}}
- name: Requests
  version: '2.32'
  manager: pip
  url: https://x.example/r.whl
  hash: {{sha256: {B}}}
"""


def test_conda_lock_has_packages_of_conda_and_of_pypi():
    lock = parse_lock("conda-lock.yml", CONDA_LOCK.encode())
    assert [(one.wanted.ecosystem, *pair) for one, pair in zip(lock.wanted, asked(lock), strict=True)] == [
        (Ecosystem.CONDA, "numpy", "1.26.4"),
        (Ecosystem.PYPI, "requests", "2.32"),
    ]
    assert lock.wanted[1].digests == (f"sha256:{B}",)
    assert lock.problems == ()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("x: &a [1]", "Anchors"),
        ("x: *a", "Anchors"),
        ("x: !!python/object/apply:os.system ['touch /tmp/broken']", "Tags"),
        ("x: !!str 1", "Tags"),
        ("? [a, b]\n: 1", "no text"),
        ("version: 2", "twice"),
        ("x: " + "[" * 40 + "]" * 40, "deep"),
        ("x: [", "not YAML"),
        ("---\na: b", "more than one"),
    ],
)
def test_yaml_that_is_more_than_plain_is_refused(line, why):
    lock = parse_lock("conda-lock.yml", (CONDA_LOCK + line + "\n").encode())
    assert lock.wanted == ()
    assert why in lock.problems[0].text


def test_renv_lock_is_of_cran_alone():
    lock = parsed(
        "renv.lock",
        """\
        {"R": {"Version": "4.4.1"},
         "Packages": {
          "Matrix": {"Package": "Matrix", "Version": "1.7-0", "Source": "Repository", "Repository": "RSPM"},
          "limma": {"Package": "limma", "Version": "3.60", "Source": "Bioconductor"},
          "mine": {"Package": "mine", "Version": "0.1", "Source": "GitHub"}}}
        """,
    )
    assert asked(lock) == [("Matrix", "1.7-0")]
    assert [str(problem) for problem in lock.problems] == [
        "Line 4: 'limma' is from Bioconductor, not from CRAN.",
        "Line 5: 'mine' is from GitHub, not from CRAN.",
    ]


def test_one_version_twice_is_one_entry_with_the_digests_of_both():
    lock = parsed("a.txt", f"numpy==1 --hash=sha256:{A}\nNumPy==1 --hash=sha256:{B} --hash=md5:{'0' * 32}\n")
    assert asked(lock) == [("numpy", "1")]
    assert lock.wanted[0].digests == (f"sha256:{A}", f"sha256:{B}")


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("requirements.txt", b"\xff\xfe", "UTF-8"),
        ("requirements.txt", b"a" * (LARGEST_LOCK + 1), "larger than"),
        ("requirements.txt", b"", "no packages"),
        ("requirements.txt", b"a==" + b"1" * 30_000, "longer than"),
        ("Pipfile", b"", "is understood"),
        ("../../uv.lock.exe", b"", "is understood"),
        ("uv.lock", b"version = 2", "version 1"),
        ("uv.lock", b"version = [[[", "not TOML"),
        ("uv.lock", b"version = " + b"[" * 19_000, "not TOML"),
        ("package-lock.json", b"[" * 100_000, "deep"),
        ("package-lock.json", b"[]", "not a JSON object"),
        ("package-lock.json", b'{"lockfileVersion": {}, "packages": {}}', "version 2 or 3"),
        ("package-lock.json", b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        ("renv.lock", b"{}", "no renv.lock"),
        ("pylock.toml", b"a = 1", "PEP 751"),
        ("x/pylock.dev.toml", b"", "PEP 751"),
        (
            "requirements.txt",
            "\n".join(f"p{number}==1" for number in range(MOST_ENTRIES + 1)).encode(),
            "more than",
        ),
    ],
)
def test_a_file_that_says_nothing_sensible_is_told_why(name, data, why):
    lock = parse_lock(name, data)
    assert lock.wanted == ()
    assert why in lock.problems[0].text


def test_names_and_versions_that_could_go_astray_are_problems_not_entries():
    lock = parsed("requirements.txt", "../x==1\nx==../../etc\na b==1\n--hash==1\nx==1\x00\n")
    assert lock.wanted == ()
    assert len(lock.problems) == 5
    assert all(str(problem).isprintable() for problem in lock.problems)


def test_problems_are_bounded_and_the_rest_is_counted():
    lock = parse_lock("requirements.txt", b"x>1\n" * 5000)
    assert len(lock.problems) == MOST_PROBLEMS + 1
    assert "4,900 more" in lock.problems[-1].text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "@EXPLICIT\nhttps://a/" + "a/" * 9000 + "\n"),
        ("a.txt", ("-" * 19_000 + "\n") * 300),
        ("a.txt", ("a" + " " * 19_000 + "x\n") * 300),
        ("a.txt", "a==1 \\\n" * 300_000),
        (
            "package-lock.json",
            '{"lockfileVersion": 3, "packages": {' + '"node_modules/a":{},' * 200_000 + '"":{}}}',
        ),
        ("conda-lock.yml", "version: 1\npackage:\n" + "- {}\n" * 300_000),
    ],
    ids=["slashes", "hyphens", "spaces", "joined", "npm", "yaml"],
)
def test_a_file_made_to_take_long_does_not(name, text):
    with processor() as spent:
        parse_lock(name, text.encode())
    assert spent.seconds < 20


GOOD = {
    "requirements.txt": textwrap.dedent(REQUIREMENTS).encode(),
    "conda-lock.yml": CONDA_LOCK.encode(),
    "package-lock.json": json.dumps(
        {"lockfileVersion": 3, "packages": {"node_modules/a": {"version": "1.0.0", "integrity": SHA512}}}
    ).encode(),
    "uv.lock": b'version = 1\n[[package]]\nname = "a"\nversion = "1"\nsource = {registry = "x"}\n',
    "renv.lock": b'{"Packages": {"a": {"Package": "a", "Version": "1", "Source": "Repository"}}}',
    "pylock.toml": b'lock-version = "1.0"\n[[packages]]\nname = "a"\nversion = "1"\n',
}


@given(st.sampled_from(sorted(GOOD)), st.randoms(use_true_random=False), st.integers(1, 12))
@settings(max_examples=count("broken lock files", ci=300, nightly=5000), deadline=None)
def test_a_broken_file_is_read_or_refused_and_never_crashes(name, random_, changes):
    data = bytearray(GOOD[name])
    assert parse_lock(name, bytes(data)).wanted
    for _ in range(changes):
        _change(random_, data)
    _sound(parse_lock(name, bytes(data)))


def _change(random_: random.Random, data: bytearray) -> None:
    at = random_.randrange(len(data) + 1)
    what = random_.randrange(3)
    if what == 0:
        data[at:at] = random_.choice([b"[", b"{", b'"', b"\n", b"&a ", b"!!x ", b"\\", b"\x00", b"\xc3\xa9"])
    elif what == 1:
        del data[at : at + random_.randrange(1, 20)]
    else:
        data[at:at] = data[at : at + 40]


@given(
    st.sampled_from(["conda-lock.yml", "package-lock.json", "renv.lock"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
)
@settings(max_examples=count("any value in a lock file", ci=200, nightly=5000), deadline=None)
def test_any_value_in_any_place_is_read_or_refused(name, value):
    for key in ("packages", "Packages", "package", "version", "lockfileVersion"):
        text = json.dumps(
            {"lockfileVersion": 3, "version": 1, "Packages": {}, key: {"node_modules/a": value}}
        )
        _sound(parse_lock(name, text.encode()))


def _sound(lock):
    assert len(lock.problems) <= MOST_PROBLEMS + 1
    for one in lock.wanted:
        assert ".." not in one.wanted.name.split("/")
        assert "/" not in one.wanted.version
        assert all(digest.startswith(("sha256:", "sha512:")) for digest in one.digests)
    assert all(problem.text for problem in lock.problems)
