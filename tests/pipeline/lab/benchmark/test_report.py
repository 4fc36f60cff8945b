"""Paired timing, the table, the JSON and the plot that all parts of the benchmark share."""

import json
import sys
import xml.etree.ElementTree as ET

import pytest

from pipeline.lab.benchmark.paired import Spread, in_turn, ratio
from pipeline.lab.benchmark.report import Chart, Column, Report, conditions, save


def test_every_round_runs_every_variant_and_the_order_turns():
    ran = []
    costs = iter(range(100))

    def variant(name):
        def run():
            ran.append(name)
            return float(next(costs))

        return run

    cost = in_turn({name: variant(name) for name in "abc"}, rounds=3, warmup=1)
    assert ["".join(ran[at : at + 3]) for at in range(0, 12, 3)] == ["cab", "abc", "bca", "cab"]
    assert cost == {"a": [3.0, 8.0, 10.0], "b": [4.0, 6.0, 11.0], "c": [5.0, 7.0, 9.0]}


def test_a_ratio_is_of_the_rounds_and_not_of_the_medians():
    found = ratio([2.0, 20.0, 6.0], [1.0, 10.0, 2.0])
    assert found == Spread(median=2.0, low=2.0, high=2.5)
    with pytest.raises(ValueError, match="longer"):
        ratio([1.0], [1.0, 2.0])


def test_nothing_to_measure_is_refused():
    with pytest.raises(ValueError, match="0 rounds of 1 variants"):
        in_turn({"a": lambda: 1.0}, rounds=0)


def report():
    return Report(
        part="model",
        title="A title",
        columns=(
            Column("what", "model", "its name"),
            Column("r", "r", "tokens", "d"),
            Column("speedup", "speed-up", "times", ".2f"),
            Column("goal", "FLOPs ratio", "times", ".2f"),
        ),
        rows=(
            {"what": "small", "r": 8, "speedup": Spread(1.5, 1.25, 1.75), "goal": 2.0},
            {"what": "a longer name", "r": 0, "speedup": Spread(1.0, 1.0, 1.0), "goal": None},
        ),
        conditions=conditions(threads=2),
        chart=Chart(
            bar="speedup", axis="times faster", labels=("what", "r"), mark="goal", limit=1.0
        ),
        notes=("a note",),
    )


def test_the_table_is_aligned_and_shows_the_spread():
    assert report().text().splitlines() == [
        "A title",
        "model          r          speed-up  FLOPs ratio",
        "small          8  1.50 (1.25-1.75)         2.00",
        "a longer name  0              1.00            -",
        "a note",
        "Columns:",
        "  model        its name",
        "  r            tokens",
        "  speed-up     times",
        "  FLOPs ratio  times",
    ]


def test_json_holds_values_meanings_and_conditions_and_the_plot_is_svg(tmp_path):
    pytest.importorskip("matplotlib")
    paths = save(report(), tmp_path / "new")
    assert [path.name for path in paths] == ["model.json", "model.svg"]
    content = json.loads(paths[0].read_text())
    assert content["rows"][0]["speedup"] == {"median": 1.5, "low": 1.25, "high": 1.75}
    assert content["columns"]["speedup"] == "times"
    assert content["conditions"]["threads"] == 2
    assert content["conditions"]["packages"]["torch"]
    assert ET.parse(paths[1]).getroot().tag.endswith("svg")
    assert "<!-- small, r 8 -->" in paths[1].read_text()


def test_without_matplotlib_there_is_a_table_and_json_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert [path.name for path in save(report(), tmp_path)] == ["model.json"]
