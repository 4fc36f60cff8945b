"""Costs: attempts that were killed or differ, prices, what is refused."""

import json

import pytest

from pipeline import formatting
from pipeline.errors import UsageError
from pipeline.prices import Prices
from pipeline.reports.cost.compare import compare
from pipeline.reports.cost.plots import plots
from tests.pipeline.synthetic_runs import (
    ON_GPU,
    PRICES,
    Made,
    attempt,
    make_run,
    make_segmented_run,
)


def compared(tmp_path, *attempts):
    """Figures of a run whose rows are made 1 to 40 seconds after its first attempt began."""
    path = make_run(tmp_path / "run", Made(), attempts=list(attempts))
    other = make_run(tmp_path / "other", Made(r=22))
    return compare([path, other]).runs[0]


def test_a_killed_attempt_counts_to_the_last_row_that_it_made(tmp_path):
    held = compared(tmp_path, attempt(0, None), attempt(30.5, None, cpus=4), attempt(100, 110)).held
    # Rows at 1 to 30 are the first attempt's, at 31 to 40 the second's.
    assert held.wall_s == pytest.approx(30 + 9.5 + 10)
    assert held.core_s == pytest.approx(30 * 8 + 9.5 * 4 + 10 * 8)
    assert (held.attempts, held.killed) == (3, 2)


def test_an_attempt_that_was_killed_before_its_first_row_counts_nothing(tmp_path):
    held = compared(tmp_path, attempt(0, 45), attempt(50, None)).held
    assert held.wall_s == 45


def test_device_time_counts_on_the_devices_of_the_attempt_that_made_each_row(tmp_path):
    found = compared(tmp_path, attempt(0, 30.5), attempt(30.6, 50, **ON_GPU))
    time, device_s = found.rows.used.labeling, found.rows.shared.device_s
    # 30 of 40 rows of about equal device time were labeled on cores.
    assert time.core_s == pytest.approx(0.75 * device_s, rel=0.01)
    assert time.core_s + time.gpu_s == pytest.approx(device_s)
    assert found.held.gpu_s == pytest.approx(2 * 19.4)


def test_one_price_list_holds_for_all_runs_and_that_is_said(tmp_path):
    cheap = PRICES | {"core_hour": 0.01}
    runs = [
        make_run(tmp_path / "dense", Made(), prices=PRICES),
        make_run(tmp_path / "pruned", Made(r=22), prices=cheap),
    ]
    found = compare(runs)
    assert found.prices == Prices.from_json(PRICES)
    assert any("recorded different prices" in note for note in found.notes)
    file = tmp_path / "prices.yaml"
    file.write_text("gpu_hour: 1\ncore_hour: 1\n")
    chosen = compare(runs, prices_file=file)
    assert chosen.prices == Prices(1, 1)
    assert not any("prices" in note for note in chosen.notes)


def test_a_gpu_that_is_cheaper_than_its_own_cores_is_refused():
    with pytest.raises(UsageError, match="cores that come"):
        Prices(gpu_hour=0.3, core_hour=0.04, gpu_cores=8)


def test_runs_that_differ_in_more_than_pruning_are_compared_and_that_is_said(tmp_path):
    there = attempt(0, 60, devices=["cpu: 1 thread of another CPU"])
    runs = [
        make_run(tmp_path / "dense", Made()),
        make_run(tmp_path / "pruned", Made(r=22, views=3), attempts=[there]),
    ]
    notes = " ".join(compare(runs).notes)
    assert "protocol (dense: videomae-k400 1x2; pruned: videomae-k400 1x3)" in notes
    assert "different machines" in notes


def test_recordings_that_were_cut_differently_are_compared_by_cost_alone(tmp_path):
    runs = [
        make_segmented_run(tmp_path / "dense", Made()),
        make_segmented_run(tmp_path / "pruned", Made(r=22), count=3),
    ]
    found = compare(runs)
    # The last segment of three is open, and the third of five is not.
    assert found.runs[1].agreement.units == 8
    assert found.runs[1].rows.shared.videos == 4


def test_clips_at_other_steps_are_not_compared_by_their_numbers(tmp_path):
    protocol = {"name": "videomae-k400", "clips": 2, "crops": 1, "every_s": 4.0}
    identity = {"labels": "eight", "pruning": {"r": 22}, "protocol": protocol}
    runs = [
        make_segmented_run(tmp_path / "dense", Made()),
        make_segmented_run(tmp_path / "pruned", Made(r=22), identity=identity),
    ]
    found = compare(runs)
    assert found.runs[1].agreement is None
    assert "differ in --clip-every" in " ".join(found.notes)


def test_clocks_that_ran_while_processes_took_turns_are_not_called_idle(tmp_path):
    runs = [
        make_run(tmp_path / name, Made(r=r), attempts=[attempt(0, 0.1)], prices=PRICES)
        for name, r in (("dense", 0), ("pruned", 22))
    ]
    found = compare(runs)
    assert found.runs[0].cluster.idle_core_s < 0
    assert any("processes shared cores" in note for note in found.notes)


def test_device_time_that_waiting_for_cores_lengthened_is_said(tmp_path):
    runs = [make_run(tmp_path / "dense", Made()), make_run(tmp_path / "pruned", Made(r=22))]
    for name, cpu_s in (("dense", 98.0), ("pruned", 30.0)):
        path = tmp_path / name / "run.json"
        content = json.loads(path.read_text())
        content["totals"]["stages"] = {"label": {"cpu_s": cpu_s, "busy_s": 100.0}}
        path.write_text(json.dumps(content))
    (note,) = [note for note in compare(runs).notes if "shared its cores" in note]
    assert note.startswith("pruned")
    assert "30 %" in note


def test_money_is_read_without_powers_of_ten():
    assert formatting.money(0.004567, "EUR") == "0.00457 EUR"
    assert formatting.money(1234.5, "EUR") == "1,234.50 EUR"
    assert formatting.money(None, "EUR") == "not known"


def test_runs_of_any_name_stand_in_the_plots(tmp_path):
    made = [make_run(tmp_path / "_night", Made()), make_run(tmp_path / "$%$ & <b>", Made(r=22))]
    for plot in plots(compare(made)):
        assert ">night" in plot.svg
        assert "$%$ &amp; &lt;b&gt;" in plot.svg
