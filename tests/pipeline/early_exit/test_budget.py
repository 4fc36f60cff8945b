"""Runs within a budget, with simulated labelers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.early_exit import EarlyExitFile, OperatingPoint
from pipeline.early_exit.budget import (
    Budget,
    LabelingProfile,
    RunPart,
    check_retry,
    max_flops_per_view,
    parts_within,
    recorded_slices,
)
from pipeline.errors import RunError, UsageError
from pipeline.inputs.manifest import write_manifest
from pipeline.inputs.video import Video
from pipeline.prices import Prices
from pipeline.reports.early_exit.budget import budget_lines, budget_outcome
from pipeline.run.run_directory import OpenRun, RunDirectory
from pipeline.run.run_record import Model, RunRecord, SliceRecord
from pipeline.run.slices import slice_numbers, slices_of
from pipeline.run.totals import Totals
from pipeline.storage.location import Location
from tests.pipeline.run.test_tables import failed, ok, write_units
from tests.report_runs import attempt
from tests.run_records import run_record

VIDEOS, VIEWS, FLOPS = 1000, 15, 7
PRICES = Prices(gpu_hour=3600.0, core_hour=36.0)
CURVE = tuple(
    OperatingPoint(threshold, agreement, agreement - 0.01, views, 1.0)
    for threshold, agreement, views in (
        (2.0, 1.0, 7.0),
        (1.0, 0.99, 3.0),
        (0.5, 0.97, 2.0),
        (0, 0.9, 1),
    )
)
FILE = EarlyExitFile(
    model="m",
    labels="l",
    pruning={"r": 0},
    protocol={"clips": 5, "crops": 3},
    precision="float32",
    decoder="pyav",
    decode="exact",
    agreement=0.99,
    confidence=0.95,
    threshold=1.0,
    videos=1000,
    source="here",
    curve=CURVE,
)
LABELING = LabelingProfile(views=VIEWS, flops=FLOPS)
IDENTITY = {
    "protocol": {"clips": 5, "crops": 3},
    "early_exit": {"threshold": 1.0, "max_views": None, "agreement": 0.99, "confidence": 0.95},
}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(Location.of(str(tmp_path)))
    names = [f"v{number}" for number in range(VIDEOS)]
    write_manifest((Video(name, f"/x/{name}") for name in names), directory.manifest)
    (tmp_path / "units").mkdir()
    directory.save(
        run_record(
            {
                "identity": IDENTITY,
                "model": {"kept_grids": [[1, 1, 2]]},
                "attempts": [attempt(0, None, gpus=1.0)],
            }
        )
    )
    return directory


def label(
    run: RunDirectory, part: RunPart, views_of: Callable[[RunPart, np.random.Generator], int]
) -> None:
    """Writes rows for the videos of a part, each with as many views as `views_of` says."""
    assert part.within is not None
    manifest = pq.read_table(run.manifest.uri, partitioning=None)
    mine = slice_numbers(manifest["unit_id"].to_pylist(), [part.within]) == 0
    names = [name for name, yes in zip(manifest["video_id"].to_pylist(), mine, strict=True) if yes]
    assert len(names) == part.units
    rng = np.random.default_rng(part.within.number)
    seen = [views_of(part, rng) for _ in names]
    rows = [
        ok(name, flops=FLOPS, views=views) | {"margins": [0.0] * views}
        for name, views in zip(names, seen, strict=True)
    ]
    write_units(run, f"part-{part.within.number}", rows)


def as_calibrated(part: RunPart, rng: np.random.Generator) -> int:
    """Views with the mean that the curve says, spread widely."""
    assert part.early_exit is not None
    mean = next(point.views for point in CURVE if point.threshold == part.early_exit.threshold)
    return int(min(1 + rng.geometric(1 / mean) - 1, part.early_exit.max_views or VIEWS))


def all_run(run: RunDirectory, budget: Budget, views_of: Any = as_calibrated) -> RunRecord:
    opened = OpenRun(run, run.load())
    for part in parts_within(opened, budget, FILE, LABELING):
        label(run, part, views_of)
        assert part.missing(run, done=0) == 0
    return replace(opened.record, totals=Totals(flops=flops_of(run)))


def flops_of(run: RunDirectory) -> int:
    return sum(pq.read_table(run.units.uri, columns=["flops"])["flops"].drop_null().to_pylist())


def slices_in(record: RunRecord) -> tuple[SliceRecord, ...]:
    assert record.budget is not None
    return record.budget.slices


def thresholds(record: RunRecord) -> list[float]:
    return [early_exit.threshold for early_exit in recorded_slices(record)[1]]


def test_every_video_is_in_one_part_and_a_large_budget_buys_the_fitted_threshold(
    run: RunDirectory,
) -> None:
    record = all_run(run, Budget(flops=1e12))
    assert len(pq.read_table(run.units.uri)) == VIDEOS
    assert thresholds(record) == [1.0] * 8


def test_a_budget_of_flops_is_nearly_used_and_never_passed(run: RunDirectory) -> None:
    budget = 2.4 * VIDEOS * FLOPS
    record = all_run(run, Budget(flops=budget))
    assert 0.8 * budget < record.finished_totals.flops <= budget
    assert set(thresholds(record)) <= {1.0, 0.5}


def test_an_archive_far_harder_than_the_calibration_passes_no_budget(run: RunDirectory) -> None:
    def as_often_as_allowed(part: RunPart, rng: np.random.Generator) -> int:
        assert part.early_exit is not None
        return part.early_exit.max_views or VIEWS

    budget = 2.4 * VIDEOS * FLOPS
    record = all_run(run, Budget(flops=budget), as_often_as_allowed)
    assert record.finished_totals.flops <= budget


def test_decisions_stand_in_run_json_before_the_work_and_a_resumed_run_keeps_them(
    run: RunDirectory,
) -> None:
    budget, opened = Budget(flops=2.4 * VIDEOS * FLOPS), OpenRun(run, run.load())
    for number, part in enumerate(parts_within(opened, budget, FILE, LABELING)):
        assert len(slices_in(run.load())) == number + 1
        if number == 3:
            break
        label(run, part, as_calibrated)
    stopped = run.load()
    resumed = OpenRun(run, stopped)
    rest = list(parts_within(resumed, budget, FILE, LABELING))
    assert slices_in(resumed.record)[:4] == slices_in(stopped)
    assert [part.missing(run, 0) > 0 for part in rest] == [False] * 3 + [True] * 5


def test_a_larger_budget_serves_what_is_left_of_a_run(run: RunDirectory) -> None:
    opened = OpenRun(run, run.load())
    for number, part in enumerate(
        parts_within(opened, Budget(flops=1.3 * VIDEOS * FLOPS), FILE, LABELING)
    ):
        if number == 4:
            break
        label(run, part, as_calibrated)
    opened = OpenRun(run, run.load())
    list(parts_within(opened, Budget(flops=1e12), FILE, LABELING))
    assert thresholds(opened.record) == [0.0] * 5 + [1.0] * 3


def test_a_smaller_budget_is_refused_since_what_was_decided_may_pass_it(run: RunDirectory) -> None:
    opened = OpenRun(run, run.load())
    for number, part in enumerate(parts_within(opened, Budget(flops=1e5), FILE, LABELING)):
        if number == 7:
            break
        label(run, part, as_calibrated)
    with pytest.raises(UsageError, match=r"a budget of 1e\+05 FLOPs; .* not 9e\+04 FLOPs"):
        next(parts_within(OpenRun(run, run.load()), Budget(flops=9e4), FILE, LABELING))
    assert run.load().to_json()["budget"]["flops"] == 1e5


def test_an_unfinished_run_has_the_slices_that_it_will_have(run: RunDirectory) -> None:
    opened = OpenRun(run, run.load())
    for number, part in enumerate(parts_within(opened, Budget(flops=1e5), FILE, LABELING)):
        if number == 2:
            break
        label(run, part, as_calibrated)
    slices, early_exits = recorded_slices(run.load())
    assert slices == slices_of(VIDEOS)
    assert len(early_exits) == 3


def test_where_flops_follow_the_clip_a_view_takes_no_more_than_the_unpruned_model_does() -> None:
    model = Model("vit", "here", (), flops_per_view=5, flops_per_view_unpruned=9)
    assert max_flops_per_view(model) == 5
    assert max_flops_per_view(replace(model, flops_vary_by_clip=True)) == 9


def test_less_than_a_view_of_each_video_is_refused_with_what_it_takes(run: RunDirectory) -> None:
    with pytest.raises(UsageError, match=r"each of the 1,000 videos takes 7000 FLOPs"):
        all_run(run, Budget(flops=6_999))


def with_failures(run: RunDirectory, budget: Budget, failures: int) -> OpenRun:
    """A run whose parts are labeled, but for videos of the first that were not to be had."""
    opened = OpenRun(run, run.load())
    for part in parts_within(opened, budget, FILE, LABELING):
        label(run, part, as_calibrated)
        if part.within is not None and part.within.number == 0:
            file = f"{run.units.uri}/part-0.parquet"
            rows = pq.read_table(file, partitioning=None).to_pylist()
            lost = [failed(row["video_id"], "unavailable") for row in rows[:failures]]
            write_units(run, "part-0", [*lost, *rows[failures:]])
    return opened


def test_failures_leave_what_they_did_not_spend_to_the_others(run: RunDirectory) -> None:
    opened = with_failures(run, Budget(flops=2.4 * VIDEOS * FLOPS), failures=100)
    assert 0.8 * 2.4 * VIDEOS < flops_of(run) / FLOPS <= 2.4 * VIDEOS
    assert len(slices_in(opened.record)) == 8


def test_failures_are_done_again_only_where_that_cannot_pass_the_budget(run: RunDirectory) -> None:
    budget = Budget(flops=2.4 * VIDEOS * FLOPS)
    opened = with_failures(run, budget, failures=100)
    with pytest.raises(UsageError, match="retrying 100 failed videos"):
        check_retry(opened, budget, LABELING)
    check_retry(opened, Budget(flops=(2.4 + 1.5) * VIDEOS * FLOPS), LABELING)


def test_money_buys_what_the_first_slice_measured(run: RunDirectory) -> None:
    # A view takes 1.5 ms of a GPU at 1 a second, decoding a video 100 ms of a core at 0.01.
    each, decoding = 0.0015, 0.001
    budget = VIDEOS * (decoding + 2.4 * each)
    record = all_run(run, Budget(money=budget, prices=PRICES))
    views = flops_of(run) / FLOPS
    assert 0.8 * budget < VIDEOS * decoding + views * each <= 1.02 * budget
    assert thresholds(record)[0] == 1.0
    assert min(thresholds(record)) == 0.5


def test_an_archive_far_dearer_than_a_budget_of_money_costs_a_small_slice(
    run: RunDirectory,
) -> None:
    with pytest.raises(RunError, match="used up"):
        all_run(run, Budget(money=0.05, prices=PRICES))
    assert 0 < len(pq.read_table(run.units.uri)) < VIDEOS / 10


def test_money_that_does_not_reach_ends_the_run_and_says_so(run: RunDirectory) -> None:
    with pytest.raises(RunError, match="budget of 1.10 USD is used up") as caught:
        all_run(run, Budget(money=1.1, prices=PRICES))
    assert "larger budget" in caught.value.advice


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "not both"),
        ({"flops": 1.0, "money": 1.0, "prices": PRICES}, "not both"),
        ({"flops": 0.0}, "above 0"),
        ({"flops": math.inf}, "above 0"),
        ({"money": 1.0}, "needs --prices"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Budget(**settings)


def test_the_summary_says_what_was_spent_and_what_share_of_labels_it_keeps(
    run: RunDirectory,
) -> None:
    record = all_run(run, Budget(flops=2.0 * VIDEOS * FLOPS))
    found = budget_outcome(run, record)
    assert found is not None
    assert found.spent == record.finished_totals.flops
    assert 0.9 < found.agreement < 0.99
    assert found.guaranteed == 0.99
    # No margin of these rows is enough for any threshold but none.
    slices, early_exits = recorded_slices(record)
    ids = pq.read_table(run.units.uri, columns=["unit_id"])["unit_id"].to_pylist()
    careful = [early_exits[number].threshold > 0 for number in slice_numbers(ids, slices)]
    assert found.stopped_by_budget == sum(careful) > 0
    text = "\n".join(budget_lines(run, record))
    assert f"({100 * found.spent / found.budget:.1f} %)" in text
    assert f"{100 * found.agreement:.1f} % of the labels of all views" in text


def test_a_run_without_a_budget_has_nothing_to_say_of_one(run: RunDirectory) -> None:
    record = replace(run.load(), totals=Totals())
    assert budget_outcome(run, record) is None
    assert budget_lines(run, record) == []
