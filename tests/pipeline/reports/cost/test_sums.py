"""The cost report's figures: recomputed from Parquet by DuckDB, equal to the digit."""

import dataclasses
import json

import pytest

from pipeline.reports.cost.compare import compare
from pipeline.reports.cost.writing import as_json
from tests.pipeline.synthetic_runs import (
    EVERY_S,
    ON_GPU,
    PRICES,
    Made,
    attempt,
    make_run,
    make_segmented_run,
    segments,
    write_run,
)

duckdb = pytest.importorskip("duckdb")

# Sums of FLOPs pass 2^63, where integers of 64 bits end.
DENSE = Made(flops=2**60 + 1)
PRUNED = Made(
    r=22, flops=2**59 + 3, device_ms=11.0, blur=0.4, shadow=0.5, failing=("video-007.mp4",)
)


def row(statement):
    """The one row that a statement gives, by column."""
    result = duckdb.sql(statement)
    (values,) = result.fetchall()
    return dict(zip(result.columns, values, strict=True))


def statements(content, name):
    (found,) = [each["statements"] for each in content["methodology"] if each["name"] == name]
    return found


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """report.json of three runs that share some of their videos."""
    folder = tmp_path_factory.mktemp("it's")
    runs = [
        make_run(folder / "pruned", PRUNED, first=5, prices=PRICES),
        make_run(folder / "dense", DENSE),
        make_run(folder / "more", dataclasses.replace(PRUNED, r=30, blur=0.8), first=2),
    ]
    return json.loads(json.dumps(as_json(compare(runs))))


def test_a_statement_stands_in_the_report_only_where_a_test_compares_it_with_the_figure(content):
    shown = {each["name"] for each in content["methodology"] if each["statements"]}
    assert shown == {"shared", "work", "whole", "agreement", "accuracy"}


def test_sums_over_the_shared_videos_are_duckdbs_to_the_digit(content):
    of_run = statements(content, "work")
    assert of_run.keys() == {"pruned", "dense", "more"}
    for run in content["runs"]:
        assert row(of_run[run["name"]]) == run["work"]
    flops = {run["name"]: run["work"]["flops"] for run in content["runs"]}
    assert flops["dense"] > 2**63
    assert flops["dense"] == content["shared"]["videos"] * 2 * (2**60 + 1)


def test_sums_over_whole_runs_are_duckdbs_to_the_digit(content):
    for run in content["runs"]:
        assert row(statements(content, "whole")[run["name"]]) == run["whole"]
        assert run["whole"]["videos"] == 40
    assert content["runs"][0]["whole"]["unpruned_flops"] > 0


def test_the_shared_videos_are_those_that_all_runs_labeled_and_the_others_are_accounted_for(
    content,
):
    shared = content["shared"]
    assert row(statements(content, "shared")["all"]) == {"videos": shared["videos"]}
    # 0 to 44 in all; 5 to 39 in every run; number 7 failed in the two pruned ones.
    assert (shared["all"], shared["videos"]) == (45, 34)
    assert sum(each["videos"] for each in shared["left_out"]) == 11
    assert {"why": "failed in pruned, more", "videos": 1} in shared["left_out"]
    assert {"why": "not in pruned, more", "videos": 2} in shared["left_out"]


def test_agreement_and_accuracy_are_duckdbs(content):
    for run in content["runs"]:
        judged = row(statements(content, "accuracy")[run["name"]])
        assert judged["judged"] == run["accuracy"]["count"] < content["shared"]["videos"]
        assert judged["correct"] / judged["judged"] == run["accuracy"]["value"]
        if run["name"] == content["reference"]:
            assert run["agreement"] is run["accuracy_less_reference"] is None
            continue
        found, said = row(statements(content, "agreement")[run["name"]]), run["agreement"]
        assert found["units"] == said["units"] == content["shared"]["videos"]
        assert found["agreeing"] / found["units"] == said["top1"]["value"]
        assert found["overlap"] == pytest.approx(said["top5"]["value"], rel=1e-12)
        assert found["divergence"] == pytest.approx(said["divergence"]["value"], rel=1e-9)
        assert said["divergence"]["low"] < said["divergence"]["value"] < said["divergence"]["high"]


def test_the_reference_is_the_first_unpruned_run(content):
    assert content["reference"] == "dense"


def test_the_cost_of_the_cluster_is_the_work_and_what_was_idle(content):
    for run in content["runs"]:
        whole, cluster = run["whole"], run["cluster"]
        device_s = (whole["device_ns"] + whole["unpruned_device_ns"]) / 1e9
        busy = device_s + whole["decode_ns"] / 1e9
        assert run["held"] == {
            "wall_s": 60.0, "core_s": 480.0, "gpu_s": 0.0, "attempts": 1, "killed": 0,
        }  # fmt: skip
        assert cluster["used_core_s"] == pytest.approx(busy)
        assert cluster["idle_core_s"] == pytest.approx(480 - busy)
        reading = whole["bytes_read"] / 1e9 * 0.01 + whole["gets"] / 1000 * 0.0004
        assert cluster["cost"] == pytest.approx(480 * 0.04 / 3600 + reading)
        assert cluster["idle_cost"] == pytest.approx((480 - busy) * 0.04 / 3600)


def test_the_cost_of_the_work_adds_up_from_the_rows(content):
    for run in content["runs"]:
        work, cost = run["work"], run["work_cost"]
        second = 0.04 / 3600
        assert cost["labeling"] == pytest.approx(work["device_ns"] / 1e9 * second)
        assert cost["decoding"] == pytest.approx(work["decode_ns"] / 1e9 * second)
        assert run["shadow_cost"] == pytest.approx(work["unpruned_device_ns"] / 1e9 * second)
        assert cost["total"] == cost["labeling"] + cost["decoding"] + cost["reading"]
        assert work["gets"] == work["videos"]


def test_on_gpus_device_time_is_theirs_and_their_own_cores_are_not_charged_twice(tmp_path):
    runs = [
        make_run(tmp_path / name, made, prices=PRICES, attempts=[attempt(0, 100, **ON_GPU)])
        for name, made in (("dense", DENSE), ("pruned", PRUNED))
    ]
    for run in as_json(compare(runs))["runs"]:
        # 2 GPUs with 8 cores each are the 16 cores of the cluster.
        reading = run["whole"]["bytes_read"] / 1e9 * 0.01 + run["whole"]["gets"] / 1000 * 0.0004
        assert run["cluster"]["cost"] == pytest.approx(100 * 2 * 2.5 / 3600 + reading)
        alone = (2.5 - 8 * 0.04) / 3600
        assert run["work_cost"]["labeling"] == pytest.approx(run["work"]["device_ns"] / 1e9 * alone)
        assert run["held"]["gpu_s"] == 200.0
        assert run["cluster"]["used_core_s"] == pytest.approx(run["whole"]["decode_ns"] / 1e9)


def test_clips_of_dense_labeling_are_compared_one_by_one_and_drawn_by_segment(tmp_path):
    runs = [
        make_segmented_run(tmp_path / "dense", Made()),
        make_segmented_run(tmp_path / "pruned", Made(r=22, blur=0.7, shadow=0.5)),
    ]
    content = as_json(compare(runs))
    (_, pruned) = content["runs"]
    found = row(statements(content, "clips")["pruned"])
    said = pruned["agreement"]
    assert (said["compared"], said["units"], found["clips"]) == ("clips", 20, 80)
    assert said["top1"]["count"] == 20
    assert found["agreeing"] / found["clips"] == said["top1"]["value"] < 1
    assert row(statements(content, "work")["pruned"]) == pruned["work"]
    assert pruned["shadow"]["compared"] == "clips"
    assert 0 < pruned["shadow"]["units"] < 20
    # The same clips are in the shadow sample's rows and in the unpruned run.
    assert pruned["shadow"]["top1"]["value"] == pytest.approx(said["top1"]["value"], abs=0.2)


def test_stretches_that_only_one_run_labeled_are_left_out_and_said(tmp_path):
    made = Made(r=22, blur=0.7)
    short = [each for number in range(4) for each in segments(f"tape-{number}.mp4", made, 5)]
    for each in short[1:2]:
        each |= {"status": "failed", "error_type": "corrupt", "error": "bad", "label": None}
        each |= {"label_id": None, "scores": None, "views": None, "flops": None, "device_ms": None}
    runs = [
        make_segmented_run(tmp_path / "dense", Made()),
        write_run(tmp_path / "pruned", short, made, every_s=EVERY_S),
    ]
    found = compare(runs)
    assert found.runs[1].agreement.units == 19
    assert row(statements(as_json(found), "clips")["pruned"])["clips"] == 76
    assert any("segments missing" in note for note in found.notes)
