"""Which listed name somebody may have meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broch_workspaces.packages import near
from broch_workspaces.packages.names import canonical_name
from broch_workspaces.packages.near import NearNames, distance, near_names
from broch_workspaces.packages.spec import Ecosystem

LISTED = [
    "requests",
    "numpy",
    "pandas",
    "scikit-learn",
    "python-dateutil",
    "six",
    "pillow",
    "beautifulsoup4",
    "tqdm",
]


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("reqeusts", "requests"),
        ("request", "requests"),
        ("requessts", "requests"),
        ("numpi", "numpy"),
        ("nunpy", "numpy"),
        ("pnadas", "pandas"),
        ("sklearn", "scikit-learn"),
        ("scikitlearn", "scikit-learn"),
        ("scikit-learn-python", "scikit-learn"),
        ("dateutil", "python-dateutil"),
        ("python-requests", "requests"),
        ("pil", "pillow"),
        ("bs4", "beautifulsoup4"),
        ("sic", "six"),
    ],
)
def test_a_name_that_is_easily_confused_leads_to_the_listed_one(asked, meant):
    assert near_names(Ecosystem.PYPI, asked, LISTED)[0] == meant


@pytest.mark.parametrize("asked", ["flask", "torch", "abc", "requests-oauthlib", "x", "z" * 300, "numpy"])
def test_a_name_that_is_another_leads_nowhere(asked):
    assert near_names(Ecosystem.PYPI, asked, LISTED) == ()


def test_only_listed_names_are_suggested():
    assert near_names(Ecosystem.PYPI, "sklearn", ["numpy"]) == ()


@pytest.mark.parametrize(
    ("left", "right", "steps"),
    [
        ("", "", 0),
        ("a", "", 1),
        ("ab", "ba", 1),
        ("ca", "abc", 3),
        ("kitten", "sitting", 3),
        ("abcd", "abdc", 1),
    ],
)
def test_distances_are_those_of_the_books(left, right, steps):
    assert distance(left, right, 5) == steps


NAMES = st.text("abc-", max_size=8)


@given(NAMES, NAMES, st.integers(0, 4))
def test_a_distance_is_the_same_both_ways_and_ends_at_its_limit(left, right, limit):
    whole = distance(left, right, 20)
    assert distance(right, left, 20) == whole
    assert distance(left, right, limit) == min(whole, limit + 1)
    assert (whole == 0) == (left == right)


@given(st.sampled_from(LISTED), st.data())
def test_one_slip_of_the_hand_is_always_understood(name, data):
    at = data.draw(st.integers(0, len(name) - 1))
    slips = [name[:at] + name[at + 1 :], name[:at] + "q" + name[at:], name[:at] + "q" + name[at + 1 :]]
    slips.append(name[:at] + name[at : at + 2][::-1] + name[at + 2 :])
    asked = data.draw(st.sampled_from([slip for slip in slips if slip and slip not in LISTED] or ["qsix"]))
    found = near_names(Ecosystem.PYPI, asked, LISTED)
    assert name in found or asked == "qsix"


@given(
    st.lists(st.text("abcx-", min_size=1, max_size=7), max_size=6), st.text("abcx-", min_size=5, max_size=7)
)
def test_no_name_within_two_slips_is_overlooked(listed, name):
    within = {one for one in listed if one != name and distance(name, one, 2) <= 2}
    assert within <= set(near_names(Ecosystem.PYPI, name, listed, most=10))


@pytest.mark.parametrize(
    ("name", "taken_for"),
    [
        ("requests", []),
        ("reqeusts", ["requests"]),
        ("request", ["requests"]),
        ("requestss", ["requests"]),
        ("requezts", ["requests"]),
        ("req-uests", ["requests"]),
        ("numpy", ["nunpy"]),
        ("num-py", ["nunpy"]),
        ("scikit-learn", []),
        ("zlib", []),
        ("co1or", ["color"]),
        ("c0lor", ["color"]),
        ("olorc", []),
        ("abd", []),
    ],
)
def test_names_one_slip_away_are_near(name, taken_for):
    assert NearNames(["requests", "nunpy", "color", "abc"]).of(name) == taken_for


def test_a_name_that_is_listed_is_taken_for_no_other():
    names = NearNames(["numpy", "nunpy"])
    assert names.knows("numpy")
    assert names.of("numpy") == []
    assert not names.knows("nump")
    assert names.of("nump") == ["numpy"]


@given(
    st.lists(st.text("abcx0-", min_size=4, max_size=7), max_size=6), st.text("abcx0-", min_size=4, max_size=7)
)
def test_what_is_taken_for_another_is_what_one_slip_makes_of_it(listed, name):
    def seen(text):
        return text.replace("-", "").replace("0", "o")

    long = min((len(seen(one)) for one in (name, *listed)), default=0) >= 4
    within = {one for one in listed if distance(seen(name), seen(one), 1) <= 1 and name not in listed}
    found = set(NearNames(listed).of(name, most=10))
    assert found == within if long else found <= within


def test_a_whole_lock_file_is_not_held_against_every_listed_name(monkeypatch):
    compared = []
    monkeypatch.setattr(near, "distance", lambda *both: compared.append(both) or distance(*both))
    listed = [
        f"{first}{second}-tools-{third}" for first in "abcdefghij" for second in "kuvwz" for third in "mnpq"
    ]
    names = NearNames(listed)
    assert names.of("ak-tolos-m") == ["ak-tools-m"]
    assert names.of("something-else-entirely") == []
    assert len(compared) < len(listed) / 5


@pytest.mark.parametrize(
    ("ecosystem", "name", "canonical"),
    [
        (Ecosystem.PYPI, "Flask_.-CORS", "flask-cors"),
        (Ecosystem.CRAN, "Matrix", "Matrix"),
        (Ecosystem.NPM, "JSONStream", "JSONStream"),
        (Ecosystem.NPM, "jsonstream", "jsonstream"),
        (Ecosystem.NPM, "@types/node", "@types/node"),
        (Ecosystem.CONDA, "PyTorch_GPU", "pytorch_gpu"),
    ],
)
def test_each_ecosystem_has_its_one_form_of_a_name(ecosystem, name, canonical):
    assert canonical_name(ecosystem, name) == canonical
    assert canonical_name(ecosystem, canonical) == canonical


def test_names_that_differ_in_their_case_alone_are_near():
    assert NearNames(["JSONStream"]).of("jsonstream") == ["JSONStream"]
    assert near_names(Ecosystem.NPM, "jsonstream", ["JSONStream"]) == ("JSONStream",)
