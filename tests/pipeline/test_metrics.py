"""Metrics: what a table of labelled rows adds to the counters."""

import pyarrow as pa

from pipeline.counts import Counts
from pipeline.metrics import COUNTERS, GAUGES, HISTOGRAMS, _sums
from tests.pipeline.test_tables import failed, ok
from workers.schema import UNITS_SCHEMA


def test_the_counters_grow_by_the_sums_of_the_rows():
    kept = ok("a") | {"shadow_label_id": 0, "shadow_flops": 99}
    lost = ok("b") | {"shadow_label_id": 1, "shadow_flops": 1}
    units = pa.Table.from_pylist([kept, lost, failed("c")], schema=UNITS_SCHEMA)
    assert _sums(units) == {
        "views": 4,
        "video_seconds": 20.0,
        "flops": 40,
        "shadow_flops": 100,
        "bytes_read": 2010,
        "shadow_units": 2,
        "shadow_agreeing": 1,
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
