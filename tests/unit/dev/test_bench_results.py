"""A benchmark's result is one line of JSON with always the same keys."""

import json

import pytest

from broch.dev import bench
from broch.dev.bench import Result

KEYS = ["name", "value", "unit", "baseline", "ratio", "goal", "ok"]


@pytest.mark.parametrize(
    ("result", "goal", "ok"),
    [
        (Result.measured("a", 3.0, "s"), None, True),
        (Result.at_most("a", 12.0, "s", 12), "<= 12 s", True),
        (Result.at_most("a", 12.1, "s", 12), "<= 12 s", False),
        (Result.beside("a", 70.0, "1/s", baseline=100.0, at_least=0.7), ">= 0.7x", True),
        (Result.beside("a", 69.0, "1/s", baseline=100.0, at_least=0.7), ">= 0.7x", False),
    ],
)
def test_every_result_has_all_keys_and_judges_its_goal(result, goal, ok):
    line = json.loads(result.json())
    assert list(line) == KEYS
    assert (line["goal"], line["ok"]) == (goal, ok)


def test_a_ratio_is_value_over_baseline():
    assert Result.beside("a", 50.0, "MB/s", baseline=200.0, at_least=0.1).ratio == 0.25


def test_a_number_that_is_none_is_refused():
    with pytest.raises(ValueError, match="nan is no result"):
        Result.measured("a", float("nan"), "s")


@pytest.fixture
def benchmarks(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])

    def write(name, body):
        (tmp_path / f"bench_{name}.py").write_text(
            f"from broch.dev.bench import Result\nNAME = '{name.replace('_', '-')}'\ndef run():\n    {body}\n"
        )
        return tmp_path

    return write


def test_results_are_printed_as_json_lines(benchmarks, capsys):
    folder = benchmarks(
        "two_lines_x", "yield Result.measured('a', 1, 's'); yield Result.measured('b', 2, 's')"
    )
    assert bench.run(folder, [], as_json=True, strict=True) == 0
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == ["a", "b"]


@pytest.mark.parametrize(("strict", "status"), [(False, 0), (True, 1)])
def test_a_missed_goal_counts_only_when_strict(benchmarks, strict, status, capsys):
    folder = benchmarks("missed_x", "return [Result.at_most('slow', 2, 's', 1)]")
    assert bench.run(folder, ["missed-x"], as_json=False, strict=strict) == status
    assert "MISSED (<= 1 s)" in capsys.readouterr().out


def test_a_broken_benchmark_fails_and_hides_no_other(benchmarks, capsys):
    benchmarks("a_broken_x", "raise OSError('disk on fire')")
    folder = benchmarks("b_fine_x", "return [Result.measured('fine', 1, 's')]")
    assert bench.run(folder, [], as_json=True, strict=False) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["name"] == "fine"
    assert "disk on fire" in err


def test_an_unknown_benchmark_is_refused_with_the_known_ones(benchmarks):
    folder = benchmarks("known_x", "return []")
    with pytest.raises(bench.UnknownBenchmark, match="here are: known-x"):
        bench.run(folder, ["unknown"], as_json=False, strict=False)
