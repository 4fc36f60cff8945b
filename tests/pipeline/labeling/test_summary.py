"""What a run says at its end: true of this run, the same each time, and plain."""

import dataclasses
import re
import shlex

import pytest

from pipeline.labeling.next_steps import OtherRun
from pipeline.labeling.summary import _accuracy, first_labeled, summary
from pipeline.run.run_directory import RunDirectory
from pipeline.run.totals import Totals
from pipeline.storage.location import Location
from tests.pipeline.synthetic_runs import (
    ON_GPU,
    PRICES,
    Made,
    attempt,
    make_run,
    make_segmented_run,
    unit,
    write_run,
)

OTHER = OtherRun(["--r", "0"], "in", "elsewhere")
_LISTED = {"listing": {"skipped": {}}}


def model(made, checkpoint="weights.safetensors"):
    return {
        "architecture": "vit_demo",
        "checkpoint": checkpoint,
        "labels": [f"class {number}" for number in range(8)],
        "kept_grids": [[1, 1, 2]],
        "flops_per_view": made.flops,
        "flops_per_view_unpruned": 1_000_000,
    }


@pytest.fixture
def said(tmp_path, monkeypatch):
    """The summary's lines for a run, by their first word; `make` is of synthetic_runs."""
    monkeypatch.chdir(tmp_path)

    def lines(made=None, *, make=make_run, before=None, checkpoint="weights", **changes):
        made = made or Made(r=8, flops=491_000)
        described = {"model": model(made, checkpoint)} | _LISTED | changes
        place = make(tmp_path / "out", made, **described)
        run = RunDirectory(Location.of(place))
        text = summary("k400", run, run.load(), other=OTHER, before=before)
        assert max(map(len, text.partition("\nLabels:")[0].splitlines())) <= 80
        joined = text.replace(f"\n{' ' * 11}", " ")
        return dict(re.findall(r"^([\w ]+?): *(.*)$", joined, re.MULTILINE)) | {"all": text}

    return lines


def test_a_run_says_what_was_labeled_by_what_how_well_and_at_what_cost(said):
    lines = said()
    assert re.fullmatch(r"40 labeled \(\d:\d\d of video\), 0 failed", lines["Videos"])
    assert lines["Model"] == "vit_demo, pruned by STA (r = 8); 1 clip x 2 crops of each video"
    assert re.fullmatch(
        r"\d+\.\d % of 36 videos with ground truth; 4 of 40 labels are not among the model's "
        r"classes, such as 'no class'",
        lines["Accuracy"],
    )
    assert lines["FLOPs"] == (
        "491 k per view, 49.1 % of the unpruned model's 1 M; 39.3 M in 80 views "
        "(multiply-accumulates)"
    )
    assert lines["Time"] == "1:00 on 8 cores (model 0:02, decoding 0:02, summed over all workers)"
    assert lines["Output"] == "out"
    assert "Resumed" not in lines
    assert "Demo" not in lines
    assert "Cost" not in lines


def test_an_unpruned_run_says_so_and_compares_with_nothing(said):
    lines = said(Made())
    assert lines["Model"].startswith("vit_demo, not pruned (r = 0); ")
    assert lines["FLOPs"] == "1 M per view; 80 M in 80 views (multiply-accumulates)"
    assert "show_tokens" not in lines["all"]


def test_the_summary_of_dense_labeling_has_the_interval_of_clips(said):
    lines = said(make=make_segmented_run, before=12)
    assert lines["Model"].endswith("; a clip of 1 crop every 2 s")
    assert lines["Videos"].endswith("0 failed; 0 of 20 segments failed")
    assert lines["Resumed"] == "12 of 20 segments were already done; this command did the other 8"


@pytest.mark.parametrize(
    ("before", "line"),
    [
        (12, "12 of 40 videos were already done; this command did the other 28"),
        (40, "40 of 40 videos were already done; none was left"),
    ],
)
def test_a_resumed_run_says_how_many_were_done_already(said, before, line):
    assert said(before=before)["Resumed"] == line


@pytest.mark.parametrize("before", [None, 0])
def test_a_run_that_was_not_resumed_has_no_such_line(said, before):
    assert "Resumed" not in said(before=before)


def test_time_is_that_of_the_last_attempt_on_what_it_had(said):
    attempts = [attempt(0, None), attempt(100, 190, **ON_GPU)]
    assert said(attempts=attempts)["Time"].startswith(
        "1:30 for the last of 2 attempts, on 16 cores and 2 GPUs (model "
    )


def test_the_cost_is_that_of_the_report(said, tmp_path):
    from pipeline.reports.run import write_run_report

    made = Made(r=8)
    place = make_run(tmp_path / "priced", made, prices=PRICES, model=model(made), **_LISTED)
    run = RunDirectory(Location.of(place))
    write_run_report(run, gallery=0)
    text = summary("k400", run, run.load(), other=OTHER)
    assert re.search(
        r" Cost: [\d.]+ EUR for the work, [\d.]+ for the cluster, busy or not ",
        " ".join(text.split()),
    )


def test_drift_is_that_of_the_report(tmp_path):
    from pipeline.reports.run import write_run_report

    made = Made(r=8)
    runs = [
        RunDirectory(Location.of(make_run(tmp_path / name, made, model=model(made), **_LISTED)))
        for name in ("today", "old")
    ]
    write_run_report(runs[0], gallery=0, compare_to=runs[1].root.uri)
    text = summary("k400", runs[0], runs[0].load(), other=OTHER)
    wanted = rf" Drift: (against|not compared with) {re.escape(runs[1].root.uri)}: "
    assert re.search(wanted, " ".join(text.split()))


def test_the_summary_says_that_the_demo_model_is_not_a_real_one(said):
    assert "trained on generated videos, not on real ones" in said(checkpoint="demo")["Demo"]


def labels(text):
    """The lines of the labels that are shown."""
    return re.search(r"^Labels: .*\n((?:  .*\n)+)", text, re.MULTILINE)[1].splitlines()


def test_the_same_videos_are_shown_however_the_run_went(said, tmp_path):
    made = Made(r=8)
    names = [f"{number:02d}.mp4" for number in range(20)]
    rows = [unit(name, made, second=1) for name in names]
    shown = []
    for number, order in enumerate((rows, rows[::-1], rows[7:] + rows[:7])):
        place = write_run(tmp_path / f"out-{number}", order, made, model=model(made), **_LISTED)
        run = RunDirectory(Location.of(place))
        assert [row["video_id"] for row in first_labeled(run, 5)] == names[:5]
        text = summary("k400", run, run.load(), other=OTHER)
        assert "Labels:    the first 5 of 20 labeled videos, by id" in text
        shown.append(labels(text))
    assert shown[0] == shown[1] == shown[2]
    assert len(shown[0]) == 5


def test_failed_videos_are_not_examples_and_have_a_reason(tmp_path):
    made = Made(r=8, failing=("0.mp4", "1\n.mp4"))
    names = ["1\n.mp4", "2.mp4", "0.mp4"]
    rows = [unit(name, made, second=1) for name in names]
    place = write_run(tmp_path / "out", rows, made, model=model(made), **_LISTED)
    run = RunDirectory(Location.of(place))
    text = summary("k400", run, run.load(), other=OTHER)
    assert [line.split()[0] for line in labels(text)] == ["2.mp4"]
    assert re.search(r"^  corrupt +2  for example (0|1\\n)\.mp4: ", text, re.MULTILINE)
    assert "error_type" in text


def test_ids_are_shown_by_their_end_and_no_two_alike(tmp_path):
    made = Made(r=8)
    ids = [f"2026-11-25/a-long-folder-of-one-day/camera-{n}/0001.mp4" for n in range(4)]
    ids.append("2026-11-25/another-long-folder-of-one-day/camera-0/0001.mp4")
    rows = [unit(name, made, second=1) for name in ids]
    place = write_run(tmp_path / "out", rows, made, model=model(made), **_LISTED)
    run = RunDirectory(Location.of(place))
    shown = [line.split()[0] for line in labels(summary("k400", run, run.load(), other=OTHER))]
    assert len(set(shown)) == len(ids)
    for short, name in zip(shown, sorted(ids), strict=True):
        assert short.startswith("...")
        assert name.endswith(short[3:])


def test_every_command_that_is_shown_is_one_line_that_a_shell_takes_apart(said):
    text = said()["all"]
    commands = [line for line in text.splitlines() if " python " in line]
    assert len(commands) == 4
    for line in commands:
        words = shlex.split(line.removeprefix("Read with:"))
        assert words[0] == "python"


@pytest.mark.parametrize(
    ("judged", "correct", "unknown", "told"),
    [
        (0, 0, 0, ""),
        (8, 6, 0, "Accuracy:  75.0 % of 8 videos with ground truth"),
        (
            6,
            6,
            2,
            "Accuracy:  100.0 % of 6 videos with ground truth; 2 of 8 labels are not among the "
            "model's classes, such as 'yak'",
        ),
        (0, 0, 8, "Accuracy:  none of the 8 labels is one of the model's classes, such as 'yak'"),
    ],
)
def test_accuracy_counts_only_ground_truth_that_the_model_has(judged, correct, unknown, told):
    totals = Totals(judged=judged, correct=correct, unknown_ground_truths=unknown)
    totals.unknown_examples.append("yak")
    lines = _accuracy(totals)
    assert " ".join(" ".join(lines).split()) == " ".join(told.split())


def test_what_earlier_runs_labeled_is_counted(tmp_path):
    run = RunDirectory(Location.of(make_run(tmp_path / "run", Made(), videos=2)))
    record = run.load()
    identity = dataclasses.replace(record.identity, since=("s3://bucket/a", "s3://bucket/b"))
    listing = dataclasses.replace(record.listing, videos=2, labeled_before=1)
    record = dataclasses.replace(record, identity=identity, listing=listing)
    said = " ".join(summary("k400", run, record, other=OtherRun([], None, "x")).split())
    told = "1 video labeled in s3://bucket/a and in 1 more of --since and not changed since"
    assert f"Since: {told}, left out" in said
    record = dataclasses.replace(record, listing=dataclasses.replace(listing, videos=0))
    said = " ".join(summary("k400", run, record, other=OtherRun([], None, "x")).split())
    assert said.startswith(f"Nothing new in s3://bucket: {told}. This run is finished")
