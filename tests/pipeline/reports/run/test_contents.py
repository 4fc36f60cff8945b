"""The report's figures: equal to what DuckDB gives from the tables, for whatever a run holds."""

import json
import math
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.reports.run import write_run_report
from pipeline.reports.run.contents import contents
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.pipeline.run.test_tables import failed, ok
from tests.report_runs import at, attempt, made_run, segment, shadowed

PRICES = {"gpu_hour": 36.0, "core_hour": 3.6, "read_gb": 1000.0, "get_1000": 5, "currency": "EUR"}


def varied_rows(count, draw):
    """Rows of which some failed, are damaged, judged, or in the shadow sample."""
    for number in range(count):
        name = f"video-{number:03d}"
        if number % 7 == 3:
            yield failed(name, ("corrupt", "timeout")[number % 2]) | {"labeled_at": at(number)}
            continue
        row = ok(
            name, ground_truth="abz"[number % 8 % 3] if number % 3 else None, flops=2**59 + number
        )
        label = int(draw.random() < 0.4)
        score = float(np.float32(draw.random()))
        row |= {
            "label_id": label,
            "label": "ab"[label],
            "score": score,
            "top_ids": [label],
            "uri": f"s3://bucket/{name}" if number % 2 else f"/x/{name}",
            "size_bytes": int(draw.integers(1000)),
            "decode_ms": float(draw.exponential(100)),
            "device_ms": float(draw.exponential(50)),
            "duration_s": float(draw.exponential(10)),
            "lost_frames": int(number % 5 == 0) * number,
            "labeled_at": at(number),
        }
        yield shadowed(row, int(draw.random() < 0.4)) if number % 4 == 0 else row


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    rows = list(varied_rows(100, np.random.default_rng(5)))
    attempts = [attempt(-5, 40), attempt(60, 110)]
    return made_run(
        tmp_path_factory.mktemp("run"), rows[:30], rows[30:],
        attempts=attempts, prices=PRICES, min_agreement=0.99, shadow=0.25,
    )  # fmt: skip


@pytest.fixture(scope="module")
def figures(run):
    write_run_report(run, gallery=0)
    return json.loads(run.root.child("report.json").read_bytes())


@pytest.fixture
def ask(run):
    def asked(query):
        tables = {
            name: f"read_parquet('{run.root.uri}/{name}/*.parquet')"
            for name in ("videos", "clips", "units")
        }
        return duckdb.sql(query.format(**tables)).fetchall()

    return asked


def test_totals_are_those_that_duckdb_gives(figures, ask):
    totals = figures["totals"]
    names = (
        "videos", "ok", "failed", "views", "flops", "device_s", "decode_core_s", "bytes_read",
        "video_hours",
    )  # fmt: skip
    (row,) = ask(
        """select count(*), count(*) filter (status = 'ok'), count(*) filter (status = 'failed'),
        sum(num_views)::bigint, sum(flops)::hugeint::varchar,
        sum(floor(device_ms * 1e6 + 0.5)::hugeint)::double / 1e9,
        sum(floor(decode_ms * 1e6 + 0.5)::hugeint)::double / 1e9, sum(bytes_read)::bigint,
        sum(floor(duration_s * 1e9 + 0.5)::hugeint) filter (status = 'ok')::double / 3.6e12
        from {videos}"""
    )
    found = dict(zip(names, row, strict=True))
    found["flops"] = int(found["flops"])
    assert found["flops"] > 2**64
    assert {name: totals[name] for name in names} == found
    assert ask("select sum(flops)::hugeint::varchar from {clips}") == [(str(totals["flops"]),)]
    assert (totals["units"], totals["units_failed"]) == ask(
        "select count(*), count(*) filter (status = 'failed') from {units}"
    )[0]


def test_accuracy_and_shadow_agreement_are_those_that_duckdb_gives(figures, ask):
    accuracy, shadow = figures["accuracy"], figures["shadow"]
    assert (accuracy["judged"], accuracy["correct"]) == ask(
        "select count(*), count(*) filter (ground_truth = label) from {videos} where status = 'ok' "
        "and ground_truth_id is not null"
    )[0]
    assert (figures["unknown_ground_truths"],) == ask(
        "select count(*) from {videos} where status = 'ok' and ground_truth is not null "
        "and ground_truth_id is null"
    )[0]
    assert figures["unknown_ground_truths"] > 0
    assert (shadow["count"], shadow["agreeing"], shadow["flops"]) == ask(
        """select count(*), count(*) filter (label_id = unpruned_label_id),
            sum(unpruned_flops)::bigint
        from {units} where unpruned_label_id is not null"""
    )[0]
    assert shadow["share"] == shadow["agreeing"] / shadow["count"]
    assert 0 < shadow["low"] < shadow["share"] < shadow["high"] < 1
    assert shadow["is_below"]


def test_failures_and_damage_are_those_that_duckdb_gives(figures, ask):
    assert {reason: each["count"] for reason, each in figures["failures"].items()} == dict(
        ask("select error_type, count(*) from {units} where status = 'failed' group by 1")
    )
    for reason, each in figures["failures"].items():
        assert len(each["examples"]) == 3
        assert all(row["error"] == f"{row['video_id']} is {reason}" for row in each["examples"])
    assert (figures["damaged"]["videos"], figures["damaged"]["lost_frames"]) == ask(
        "select count(*), sum(lost_frames)::bigint from {videos} where lost_frames > 0"
    )[0]


def test_the_slowest_are_those_that_duckdb_gives(figures, ask):
    for name, column in {"decode": "decode_ms", "device": "device_ms"}.items():
        shown = [(row["video_id"], row[column]) for row in figures["slowest"][name]]
        assert len(shown) == 10
        assert shown == ask(
            f"select video_id, {column} from {{videos}} order by 2 desc nulls last limit 10"
        )
    worst = [row["video_id"] for row in figures["damaged"]["worst"]]
    assert worst == [
        name
        for (name,) in ask(
            "select video_id from {videos} where lost_frames > 0 order by lost_frames desc limit 10"
        )
    ]


def test_labels_are_those_that_duckdb_gives(figures, ask):
    labels = figures["labels"]
    rows = ask(
        """select label, count(*), avg(score::double) from {videos} where status = 'ok'
        group by 1 order by 2 desc"""
    )
    shown = [(row["label"], row["count"], row["mean_score"]) for row in labels["top"]]
    assert shown == rows
    assert (
        labels["low_confidence"]["count"]
        == ask("select count(*) from {videos} where score < 0.5")[0][0]
    )
    edges = np.array(labels["scores"]["edges"])
    scores = [score for (score,) in ask("select score::double from {videos} where status = 'ok'")]
    assert labels["scores"]["counts"] == np.histogram(scores, edges)[0].tolist()


def test_the_time_over_all_attempts_and_the_rate_add_up(figures, ask):
    assert (figures["totals"]["attempts"], figures["totals"]["wall_s"]) == (2, 45 + 50)
    spans = figures["throughput"]["spans"]
    assert [span["ended"] - span["began"] for span in spans] == [45, 50]
    units = sum(integral(span["bins"], "units_per_s") for span in spans)
    hours = sum(integral(span["bins"], "video_hours_per_hour") for span in spans) / 3600
    assert units == pytest.approx(figures["totals"]["ok"])
    assert hours == pytest.approx(figures["totals"]["video_hours"])


def integral(bins, name):
    return float(np.diff(bins["edges"]) @ bins[name])


def test_cost_adds_up_from_the_rows_and_from_the_attempts(figures, ask):
    cost, totals = figures["cost"], figures["totals"]
    columns = "sum(device_ms) / 1000, sum(unpruned_device_ms) / 1000"
    device_s, shadow_s = ask(f"select {columns} from {{videos}}")[0]
    assert cost["labeling"] == pytest.approx(device_s * 2 * 3.6 / 3600)
    assert cost["shadow"] == pytest.approx(shadow_s * 2 * 3.6 / 3600)
    assert cost["decoding"] == pytest.approx(totals["decode_core_s"] * 3.6 / 3600)
    (gets,) = ask("select sum(units) from {videos} where starts_with(uri, 's3://')")[0]
    assert 0 < gets < totals["units"]
    assert cost["reading"] == pytest.approx(totals["bytes_read"] * 1e-6 + gets * 5e-3)
    assert cost["work"] == cost["labeling"] + cost["decoding"] + cost["reading"]
    assert cost["cluster"] == pytest.approx(95 * 8 * 3.6 / 3600 + cost["reading"])


def test_a_report_of_dense_labeling_counts_clips_and_segments(tmp_path):
    rows = [
        segment(shadowed(ok("long", views=4), 0, view_ids=[0, 0, 1, 0]), 0),
        segment(failed("long"), 1),
        segment(shadowed(ok("long", views=2), 0), 2),
        segment(ok("short", views=1), 0),
    ]
    figures = contents(made_run(tmp_path, rows, every_s=2.0, min_agreement=0.8, shadow=0.5))
    assert (figures["run"]["units_are"], figures["run"]["labels_are"]) == ("segments", "clips")
    totals = figures["totals"]
    assert (totals["videos"], totals["ok"], totals["units"], totals["units_failed"]) == (2, 2, 4, 1)
    assert totals["incomplete"] == 1
    assert figures["failures"]["corrupt"]["examples"][0]["start_s"] == 32.0
    assert figures["labels"]["count"] == 7
    shadow = figures["shadow"]
    assert (shadow["count"], shadow["agreeing"], shadow["units"]) == (6, 5, 2)
    assert shadow["share"] == 5 / 6
    assert not shadow["is_below"]


@pytest.mark.parametrize(
    "rows",
    [[ok("a")], [failed("a")], [failed("a"), failed("b", "timeout")]],
    ids=["one", "one failed", "failed alone"],
)
def test_small_and_failed_runs_have_a_report_without_nan(tmp_path, rows):
    run = made_run(tmp_path, rows, min_agreement=0.9, stages=None)
    write_run_report(run)
    text = (tmp_path / "report.json").read_text()
    figures = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert figures["totals"]["videos"] == len(rows)
    assert (tmp_path / "report.html").read_text().endswith("</html>")


def test_a_run_without_times_attempts_and_prices_leaves_them_out(tmp_path):
    figures = contents(made_run(tmp_path, [ok("a"), ok("b")]))
    assert (figures["cost"], figures["shadow"], figures["accuracy"]) == (None, None, None)
    assert figures["totals"]["wall_s"] is None
    assert figures["throughput"]["spans"] == []


def test_tables_of_an_older_run_lack_columns_and_still_have_a_report(tmp_path):
    run = made_run(tmp_path, [ok("a"), failed("b")])
    path = next(Path(run.units.uri).iterdir())
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.drop_columns(["labeled_at", "unpruned_label_id"]), path)
    assert contents(run)["failures"]["corrupt"]["count"] == 1


def test_the_report_goes_where_it_is_asked_to_and_to_object_storage(tmp_path, s3):
    s3.create_bucket(Bucket="reports")
    made_run(tmp_path / "run", [ok("a"), failed("b")])
    for path in sorted((tmp_path / "run").rglob("*.*")):
        s3.upload_file(str(path), "reports", f"run/{path.relative_to(tmp_path / 'run')}")
    run = RunDirectory(Location.of("s3://reports/run"))
    write_run_report(run, gallery=0)
    write_run_report(run, gallery=0, out=Location.of(str(tmp_path / "aside")))
    stored = s3.get_object(Bucket="reports", Key="run/report.json")["Body"].read()
    assert json.loads(stored)["totals"]["ok"] == 1
    assert (tmp_path / "aside" / "report.json").read_bytes() == stored
    assert math.isclose(json.loads(stored)["totals"]["video_hours"], 10 / 3600)
