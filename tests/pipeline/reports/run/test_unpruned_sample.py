"""The shadow sample in the summary: the agreement, and a loud warning where labels are lost."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.reports.run.unpruned_sample import shadow_lines, unpruned_agreement
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.pipeline.run.test_tables import ok, view
from tests.run_records import run_record
from workers.schema import UNITS_SCHEMA


def unit(name, label_id, unpruned_label_id, views=()):
    entries = [
        view(clip, 0, 10) | {"label_id": one, "unpruned_label_id": other}
        for clip, (one, other) in enumerate(views)
    ]
    return ok(name) | {
        "label_id": label_id,
        "unpruned_label_id": unpruned_label_id,
        "views": entries,
    }


@pytest.fixture
def write(tmp_path):
    run = RunDirectory(Location.of(str(tmp_path)))

    def write_units(rows, name="1"):
        (tmp_path / "units").mkdir(exist_ok=True)
        table = pa.Table.from_pylist(rows, schema=UNITS_SCHEMA)
        pq.write_table(table, tmp_path / "units" / f"{name}.parquet")
        return run

    return write_units


def content(agreeing, count, *, shadow_share=0.5, every_s=None, wanted=None):
    kind = "unpruned_views" if every_s else "unpruned_units"
    return run_record(
        {
            "identity": {"shadow_share": shadow_share, "protocol": {"every_s": every_s}},
            "min_agreement": wanted,
            "totals": {
                kind: count,
                kind.replace("_units", "") + "_agreeing": agreeing,
                "flops": 1000,
                "unpruned_flops": 20,
            },
        }
    )


def test_the_agreement_is_that_of_the_units_in_the_sample(write):
    run = write([unit(f"a{i}", 1, 1) for i in range(8)] + [unit("b", 0, 1), unit("c", 0, None)])
    found = unpruned_agreement(run, content(8, 9))
    assert (found.value, found.count) == (8 / 9, 9)
    assert found.low < 8 / 9 < found.high < 1


def test_dense_labeling_counts_clips_and_clusters_them_by_segment(write):
    same, other = [(1, 1)] * 10, [(1, 0)] * 10
    run = write([unit(f"a{i}", 1, 1, same) for i in range(9)] + [unit("b", 1, 1, other)])
    write([unit("outside", 1, None, [(1, None)])], name="2")
    found = unpruned_agreement(run, content(90, 100, every_s=2.0))
    assert (found.value, found.count) == (0.9, 10)
    assert found.high - found.low > 0.2


def test_without_a_sample_nothing_is_said(write):
    assert unpruned_agreement(write([ok("a")]), content(0, 0, shadow_share=0.0)) is None
    assert shadow_lines(content(0, 0), None) == []


def test_an_empty_sample_is_said_and_is_a_warning_where_an_agreement_is_asked_for(write):
    run = write([ok("a")])
    asked = content(0, 0, shadow_share=0.01, wanted=0.98)
    lines = shadow_lines(asked, unpruned_agreement(run, asked))
    assert lines[0] == "Shadow:    nothing fell into the sample of 1 %; try a larger one"
    assert "not known" in lines[2]


@pytest.mark.parametrize(
    ("agreeing", "count", "wanted", "said"),
    [
        (48, 50, 0.98, "though the interval reaches it"),
        (400, 500, 0.98, "for certain"),
        (50, 50, 0.98, None),
        (25, 50, None, None),
    ],
)
def test_labels_lost_are_warned_of_loudly(write, agreeing, count, wanted, said):
    rows = [unit(f"a{i}", 1, int(i < agreeing)) for i in range(count)]
    run, asked = write(rows), content(agreeing, count, wanted=wanted)
    lines = shadow_lines(asked, unpruned_agreement(run, asked))
    assert lines[0].endswith("have the same label without pruning; 2 % more FLOPs")
    warning = [line for line in lines if line.startswith("WARNING")]
    assert len(warning) == (said is not None)
    if said:
        assert said in warning[0]
        assert lines[1] == lines[-1] == "!" * 78
