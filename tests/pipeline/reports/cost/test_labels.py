"""Agreement of labels: the same in however many parts, intervals that hold, what differs most."""

import dataclasses

import numpy as np
import pytest

from pipeline.reports.cost import labels, units
from pipeline.reports.cost.compare import compare
from pipeline.reports.cost.labels import paired_difference, unpruned_agreement
from pipeline.reports.cost.runs import open_runs
from pipeline.run.sums import exact_sum
from tests.pipeline.synthetic_runs import Made, make_run, make_segmented_run, unit, write_run

BLURRED = Made(r=22, blur=0.6, shadow=0.5)


def paired(runs):
    return compare(runs).runs[1].agreement


@pytest.mark.parametrize("make", [make_run, make_segmented_run])
def test_agreement_is_the_same_in_however_many_parts_it_is_computed(tmp_path, monkeypatch, make):
    runs = [make(tmp_path / "dense", Made()), make(tmp_path / "pruned", BLURRED)]
    whole = paired(runs)
    # Some 32 bytes of scores per unit: several units in each of many parts, and none in others.
    monkeypatch.setattr(units, "_PART_BYTES", 200)
    in_parts = paired(runs)
    assert in_parts.differing == whole.differing
    assert in_parts.top1.value == whole.top1.value
    for name in ("top5", "divergence"):
        one, other = getattr(in_parts, name), getattr(whole, name)
        assert one.value == pytest.approx(other.value, rel=1e-12)
        assert one.count == other.count


def test_a_run_agrees_with_its_copy_in_all_and_differs_in_nothing(tmp_path):
    found = paired([make_run(tmp_path / name, BLURRED, videos=10) for name in ("a", "b")])
    assert (found.top1.value, found.top5.value, found.divergence.value) == (1.0, 1.0, 0.0)
    # Ten equal labels do not prove that all are.
    assert found.top1.low < 0.75
    assert found.differing == ()


def test_intervals_do_not_depend_on_the_order_in_which_units_were_committed(tmp_path):
    rows = [unit(f"video-{number:03d}.mp4", BLURRED, second=1) for number in range(40)]
    dense = make_run(tmp_path / "dense", Made())
    forth = write_run(tmp_path / "forth", rows, BLURRED)
    back = write_run(tmp_path / "back", rows[::-1], BLURRED)
    assert paired([dense, forth]) == paired([dense, back])


def test_what_differs_most_comes_first_other_labels_before_others(tmp_path):
    runs = [make_run(tmp_path / "dense", Made()), make_run(tmp_path / "pruned", BLURRED)]
    differing = paired(runs).differing
    assert len(differing) == labels.SHOWN
    assert list(differing) == sorted(differing, key=lambda each: each.rank())
    first = differing[0]
    assert first.label != first.reference_label
    assert first.divergence > 0
    assert first.ground_truth is not None


def test_the_shadow_sample_agrees_with_the_unpruned_run_of_the_same_videos(tmp_path):
    runs = [make_run(tmp_path / "dense", Made()), make_run(tmp_path / "pruned", BLURRED)]
    dense, pruned = open_runs(runs)
    assert unpruned_agreement(dense) is None
    shadow, every = unpruned_agreement(pruned), paired(runs)
    assert 0 < shadow.units < every.units
    assert 0 < shadow.divergence.value < 1
    blurless = make_run(tmp_path / "same", dataclasses.replace(BLURRED, blur=0.0))
    (same, _) = open_runs([blurless, runs[0]])
    assert unpruned_agreement(same).divergence.value == 0


def right(pairs):
    reference, run = np.array(pairs, np.int8).T
    return reference, run, np.ones(len(pairs), np.bool_)


def test_a_paired_difference_counts_the_videos_that_changed_sides():
    found = paired_difference(*right([(1, 1)] * 6 + [(1, 0)] * 3 + [(0, 1)]))
    assert (found.value, found.count) == (-0.2, 10)
    # Agresti and Min 2005: half a video more in each cell, so 12 videos, 1.5 against 3.5.
    spread = 1.96 * np.sqrt(5 - 4 / 12) / 12
    assert (found.low, found.high) == pytest.approx((-2 / 12 - spread, -2 / 12 + spread), abs=1e-4)


def test_runs_that_never_differ_may_still_differ_on_other_videos():
    found = paired_difference(*right([(1, 1)] * 20))
    assert found.value == 0
    assert found.low < -0.03 < 0.03 < found.high


def test_a_paired_difference_holds_the_truth_about_19_times_in_20():
    draw = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        sides = draw.choice(4, p=[0.75, 0.1, 0.05, 0.1], size=80)
        found = paired_difference(
            *right([((1, 1), (1, 0), (0, 1), (0, 0))[side] for side in sides])
        )
        held += found.low <= -0.05 <= found.high
    assert 180 <= held <= 199


def test_a_bootstrap_over_groups_of_many_units_is_one_over_units():
    values = np.random.default_rng(0).exponential(size=4000)
    grouped = labels._ratio(np.tile(values, 5), np.ones(20_000))
    assert grouped.count == 20_000
    assert grouped.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / np.sqrt(20_000)
    assert grouped.high - grouped.low == pytest.approx(2 * half, rel=0.1)


def test_sums_of_flops_pass_64_bits_and_stay_exact():
    assert exact_sum(np.full(1000, 2**62 + 1)) == 1000 * (2**62 + 1)
    assert exact_sum(np.array([-3, 2**62, 2**62, 2**62])) == 3 * 2**62 - 3
    assert exact_sum(np.array([], np.int64)) == 0
