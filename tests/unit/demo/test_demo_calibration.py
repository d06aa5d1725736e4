"""The script that comes in through the airlock does its sums and keeps small groups to itself."""

import csv
import io
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch.demo.calibration import bands, brier, round_count
from broch.demo.import_script import CALIBRATION_SCRIPT
from support.counts import count

PEOPLE = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=10, max_size=300)


@settings(max_examples=count("calibration bands hold enough people", ci=50, nightly=2000), deadline=None)
@given(PEOPLE, st.integers(1, 20))
def test_no_band_holds_fewer_people_than_the_minimum(people, wanted):
    outcome, risk = zip(*people, strict=True)
    table = bands(outcome, risk, wanted=wanted)
    assert all(band.n >= 10 and band.n % 5 == 0 for band in table)
    assert 1 <= len(table) <= wanted
    assert [band.predicted for band in table] == sorted(band.predicted for band in table)
    assert abs(sum(band.n for band in table) - len(people)) <= 3 * len(table)


def test_well_calibrated_risks_come_true_in_every_band():
    chance = random.Random(7)
    risk = [chance.random() for _ in range(20_000)]
    outcome = [int(chance.random() < p) for p in risk]
    table = bands(outcome, risk)
    assert len(table) == 5
    assert all(abs(band.predicted - band.observed) < 0.03 for band in table)
    assert brier(outcome, risk) == pytest.approx(1 / 6, abs=0.01)


def test_risks_that_are_too_sure_show():
    assert brier([0, 1], [0.0, 1.0]) == 0
    assert brier([1, 0], [0.0, 1.0]) == 1
    assert bands([0, 1] * 10, [0.99] * 20)[0] == (20, 0.99, 0.5)


def test_people_with_the_same_risk_are_never_parted():
    outcome = [0, 1] * 50
    assert bands(outcome, [0.4] * 100) == [(100, 0.4, 0.5)]
    assert [band.n for band in bands(outcome, [0.4] * 50 + [0.6] * 50)] == [50, 50]


def test_too_few_people_are_refused():
    with pytest.raises(ValueError, match="too few"):
        bands([0] * 9, [0.1] * 9)
    assert bands([0] * 10, [0.1] * 10)


@pytest.mark.parametrize(("outcome", "risk"), [([], []), ([1], [0.5, 0.5])])
def test_lists_that_do_not_belong_together_are_refused(outcome, risk):
    with pytest.raises(ValueError, match="same length"):
        brier(outcome, risk)


def test_counts_are_rounded_to_five():
    assert [round_count(n) for n in (10, 12, 13, 212, 357)] == [10, 10, 15, 210, 355]


def test_the_script_runs_alone_with_nothing_but_python(tmp_path):
    (tmp_path / "p.csv").write_text("outcome,risk\n" + "1,0.9\n0,0.1\n" * 20)
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(CALIBRATION_SCRIPT), str(tmp_path / "p.csv")],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert sum(int(row["n"]) for row in rows) == 40
    assert {"n", "predicted", "observed"} == set(rows[0])
