"""Metrics: what a table of labeled rows adds to the counters."""

import logging

import pyarrow as pa
import pytest

from pipeline.execution import metrics
from pipeline.execution.metrics import COUNTERS, GAUGES, HISTOGRAMS, RunGauges, _sums, count_units
from pipeline.execution.stage_stats import Stages
from pipeline.run.counts import Counts
from tests.pipeline.run.test_tables import failed, ok
from workers.schema import UNITS_SCHEMA


def test_the_counters_grow_by_the_sums_of_the_rows():
    kept = ok("a") | {"unpruned_label_id": 0, "unpruned_flops": 99}
    lost = ok("b") | {"unpruned_label_id": 1, "unpruned_flops": 1}
    units = pa.Table.from_pylist([kept, lost, failed("c")], schema=UNITS_SCHEMA)
    assert _sums(units) == {
        "views": 4,
        "video_seconds": 20.0,
        "flops": 40,
        "unpruned_flops": 100,
        "bytes_read": 2010,
        "unpruned_units": 2,
        "unpruned_agreeing": 1,
    }
    assert Counts.of(units).agreement == 0.5


def test_failures_alone_and_nothing_at_all_count_too():
    for rows in ([failed("c")], []):
        units = pa.Table.from_pylist(rows, schema=UNITS_SCHEMA)
        assert _sums(units)["flops"] == 0
        assert Counts.of(units).agreement is None


def test_every_metric_says_what_it_counts():
    for about in (COUNTERS | HISTOGRAMS | GAUGES).values():
        assert about


@pytest.mark.parametrize("run", ["nightly", "Nächte/日本", 'a "b"\n', ""])
def test_a_run_of_any_name_is_counted(run, caplog):
    units = pa.Table.from_pylist([ok("a"), failed("b")], schema=UNITS_SCHEMA)
    count_units(run, units)
    gauges = RunGauges(run, total=2, min_agreement=None)
    gauges.set(Counts.of(units), Stages(), remaining_s=1.0)
    assert not caplog.records


def test_drift_without_a_ray_sets_nothing_and_waits_for_nothing(monkeypatch):
    monkeypatch.setattr(metrics.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(metrics, "_drift_set_at", None)
    monkeypatch.setattr(metrics.time, "sleep", lambda seconds: pytest.fail("waits"))
    metrics.set_drift("nightly", {"drift_told_apart": 0.5})
    metrics.wait_for_scrape()


def test_gauges_of_drift_are_set_and_waited_for(monkeypatch, caplog):
    known, waits = {}, []

    class Gauge:
        def __init__(self, name):
            self.name = name

        def set(self, value, tags):
            known[self.name] = value, tags

    monkeypatch.setattr(metrics.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(metrics, "_drift_set_at", None)
    monkeypatch.setattr(metrics, "_gauges", lambda: {name: Gauge(name) for name in GAUGES})
    monkeypatch.setattr(metrics.time, "sleep", waits.append)
    metrics.set_drift("nightly", {"drift_told_apart": None})
    metrics.wait_for_scrape()
    assert not waits
    metrics.set_drift("nightly", {"drift_told_apart": 0.7, "drift_classes_changed": None})
    metrics.wait_for_scrape()
    assert known == {"drift_told_apart": (0.7, {"run": "nightly"})}
    assert 0 < waits[0] <= 25
    assert not caplog.records


def test_a_length_below_nothing_keeps_no_other_sum_from_being_counted(caplog):
    units = pa.Table.from_pylist([ok("a") | {"duration_s": -1.0}], schema=UNITS_SCHEMA)
    count_units("nightly", units)
    assert not caplog.records


def test_metrics_that_fail_cost_no_row_and_say_so_once(monkeypatch, caplog):
    def broken():
        raise RuntimeError("no agent here")

    for kind in ("_counters", "_gauges"):
        monkeypatch.setattr(metrics, kind, broken)
    units = pa.Table.from_pylist([ok("a")], schema=UNITS_SCHEMA)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            count_units("nightly", units)
            gauges = RunGauges("nightly", total=1, min_agreement=None)
            gauges.set(Counts.of(units), Stages(), remaining_s=None)
    assert [record.message for record in caplog.records] == [
        "metrics are left out: RuntimeError: no agent here"
    ]
