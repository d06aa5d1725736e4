"""What a zone may ask the package route: the list, and everything that looks like it."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_workspaces.gateway.calls import Account, Upstream, find_call
from broch_workspaces.packages.paths import Ask, What, find_ask
from broch_workspaces.packages.spec import Ecosystem
from support.counts import count

P, C, K, N = Ecosystem.PYPI, Ecosystem.CRAN, Ecosystem.CONDA, Ecosystem.NPM
LISTED = {
    "/packages/pypi/simple/scikit-learn/": Ask(What.INDEX, P, name="scikit-learn"),
    "/packages/pypi/files/six/1.16.0/six-1.16.0-py2.py3-none-any.whl": Ask(
        What.FILE, P, name="six", version="1.16.0", file="six-1.16.0-py2.py3-none-any.whl"
    ),
    "/packages/pypi/files/torch/2.1.0%2Bcpu/torch-2.1.0%2bcpu-cp311.whl": Ask(
        What.FILE, P, name="torch", version="2.1.0+cpu", file="torch-2.1.0+cpu-cp311.whl"
    ),
    "/packages/pypi/files/torch/2.1.0+cpu/torch-2.1.0+cpu-cp311.whl": Ask(
        What.FILE, P, name="torch", version="2.1.0+cpu", file="torch-2.1.0+cpu-cp311.whl"
    ),
    "/packages/pypi/files/pytz/1%212024.1/pytz-1%212024.1.tar.gz": Ask(
        What.FILE, P, name="pytz", version="1!2024.1", file="pytz-1!2024.1.tar.gz"
    ),
    "/packages/cran/src/contrib/PACKAGES": Ask(What.INDEX, C),
    "/packages/cran/src/contrib/PACKAGES.gz": Ask(What.INDEX, C, packed=True),
    "/packages/cran/src/contrib/PACKAGES.rds": Ask(What.ABSENT, C),
    "/packages/cran/src/contrib/data.table_1.15.4.tar.gz": Ask(
        What.FILE, C, name="data.table", version="1.15.4", file="data.table_1.15.4.tar.gz"
    ),
    "/packages/conda/conda-forge/linux-64/repodata.json": Ask(
        What.INDEX, K, channel="conda-forge", subdir="linux-64"
    ),
    "/packages/conda/conda-forge/noarch/repodata.json.zst": Ask(
        What.ABSENT, K, channel="conda-forge", subdir="noarch"
    ),
    "/packages/conda/conda-forge/noarch/current_repodata.json": Ask(
        What.ABSENT, K, channel="conda-forge", subdir="noarch"
    ),
    "/packages/conda/conda-forge/noarch/tzdata-2024a-h0c530f3_0.conda": Ask(
        What.FILE, K, channel="conda-forge", subdir="noarch", file="tzdata-2024a-h0c530f3_0.conda"
    ),
    "/packages/npm/left-pad": Ask(What.INDEX, N, name="left-pad"),
    "/packages/npm/JSONStream": Ask(What.INDEX, N, name="JSONStream"),
    "/packages/npm/JSONStream/-/JSONStream-1.3.5.tgz": Ask(
        What.FILE, N, name="JSONStream", file="JSONStream-1.3.5.tgz"
    ),
    "/packages/npm/@types%2fnode": Ask(What.INDEX, N, name="@types/node"),
    "/packages/npm/@types/node": Ask(What.INDEX, N, name="@types/node"),
    "/packages/npm/@types/node/-/node-22.0.0.tgz": Ask(
        What.FILE, N, name="@types/node", file="node-22.0.0.tgz"
    ),
    "/resources/ontology-1": Ask(What.RESOURCE, None, name="ontology-1"),
}


@pytest.mark.parametrize("target", LISTED)
def test_a_canonical_form_is_understood_and_passed_on_for_workspaces(target):
    assert find_ask("GET", target) == LISTED[target]
    call = find_call("GET", target)
    assert call is not None
    assert (call.upstream, call.account, call.body_bytes) == (Upstream.PACKAGES, Account.WORKSPACE, 0)


@pytest.mark.parametrize("target", LISTED)
def test_only_reading_is_understood(target):
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "get"):
        assert find_ask(method, target) is None
    assert (find_ask("HEAD", target) is None) == target.startswith("/resources/")


@pytest.mark.parametrize(
    "target",
    [
        "/packages/pypi/simple/",
        "/packages/pypi/simple/six",
        "/packages/pypi/simple/Six/",
        "/packages/pypi/simple/flask_cors/",
        "/packages/pypi/simple/a--b/",
        "/packages/pypi/simple/-a/",
        "/packages/pypi/simple/a.b/",
        "/packages/pypi/simple/s%69x/",
        "/packages/pypi/simple/six/?x",
        "/packages/pypi/simple//six/",
        "//packages/pypi/simple/six/",
        "/packages/pypi/files/six/1.0/../six.whl",
        "/packages/pypi/files/six/1.0/a..whl",
        "/packages/pypi/files/six/1.0/a/b.whl",
        "/packages/pypi/files/six/1%2e0/six.whl",
        "/packages/pypi/files/six/1.0/%2Bsix.whl",
        "/packages/pypi/files/six/1.0%252Bx/six.whl",
        "/packages/pypi/files/six/1.0%2/six.whl",
        "/packages/pypi/files/six/1.0/six%2Fx.whl",
        "/packages/pypi/files/six/1.0/six%2e.whl",
        "/packages/pypi/files/si%2Bx/1.0/six.whl",
        "/packages/pypi/simple/six%2B/",
        "/packages/cran/src/contrib/x_1%2B1.tar.gz",
        "/packages/conda/conda-forge/noarch/x-1%2B1-0.conda",
        "/packages/npm/x/-/x-1%2B1.tgz",
        "/packages/cran/src/contrib/Archive/x/x_1.tar.gz",
        "/packages/cran/src/contrib/x-1.tar.gz",
        "/packages/cran/src/contrib/PACKAGES.xz",
        "/packages/conda/conda-forge/repodata.json",
        "/packages/conda/../linux-64/repodata.json",
        "/packages/conda/conda-forge/linux-64/x.exe",
        "/packages/npm/@types%2Fnode",
        "/packages/npm/@types%252fnode",
        "/packages/npm/@types%2fnode/-/node-1.tgz",
        "/packages/npm/%40types/node",
        "/packages/npm/@Types/node",
        "/packages/npm/@types/Node",
        "/packages/npm/a/b",
        "/packages/npm/-/npm/v1/security/advisories/bulk",
        "/packages/npm/" + "a" * 215,
        "/packages/golang/x",
        "/resources/",
        "/resources/a/b",
        "/resources/A",
        "/resources/a%2fb",
        "/resources/" + "a" * 64,
        "/packages/pypi/simple/six/\n",
    ],
)
def test_everything_else_is_not(target):
    assert find_ask("GET", target) is None
    assert find_call("GET", target) is None


BENT = [
    "%2e",
    "%2f",
    "%2B",
    "%21",
    "%2",
    "..",
    ".",
    "/",
    "//",
    "%00",
    "?",
    "#",
    "\\",
    "%",
    ";",
    "é",
    " ",
    "\n",
    "@",
    "%2F",
    "A",
]


@given(st.sampled_from(sorted(LISTED)), st.randoms(use_true_random=False), st.integers(1, 4))
@settings(max_examples=count("bent addresses of packages", ci=2000, nightly=100000), deadline=None)
def test_a_bent_address_is_no_listed_one_or_one_of_the_same_alphabet(target, random_, changes):
    for _ in range(changes):
        at = random_.randrange(len(target) + 1)
        target = target[:at] + random_.choice(BENT) + target[at:]
    ask = find_ask("GET", target)
    if ask is None:
        return
    assert ".." not in target
    quoted = r"%2[Bb]|%21" if target.startswith("/packages/pypi/files/") else "%2f"
    assert "%" not in re.sub(quoted, "", target)
    assert "%" not in ask.name + ask.version + ask.file
    assert not set(target) & set("?#\\; \né")
    assert "//" not in target
    assert all("/" not in part for part in (ask.version, ask.file, ask.channel, ask.subdir))


def test_an_address_is_never_longer_than_what_is_read():
    random_ = random.Random(1)
    assert all(
        find_call("GET", "/packages/npm/" + "a" * random_.randrange(215, 3000)) is None for _ in range(50)
    )
