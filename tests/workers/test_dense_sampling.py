"""Dense sampling takes a clip every so many seconds, however the video is divided into segments."""

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest

from workers.sampling import Protocol, parse_seconds, protocol

INTERVALS = [2.0, 1.0, 0.1, 0.3, 1 / 3, 0.7, 1 / 30, 1001 / 30000, 7.77, 60.0]
RNG = np.random.default_rng(7)


def dense(every_s: float = 2.0, **options: object) -> Protocol:
    return protocol("videomae-k400", every_s=every_s, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("every_s", INTERVALS)
def test_every_unit_but_the_last_is_full_even_after_days(every_s: float) -> None:
    made = dense(every_s)
    for number in (0, 1, 1_000, 999_999):
        start, end = number * made.unit_s, (number + 1) * made.unit_s
        assert made.clip_numbers(start, end) == range(16 * number, 16 * (number + 1))


@pytest.mark.parametrize("every_s", INTERVALS)
def test_segments_cut_anywhere_share_no_clip_and_lose_none(every_s: float) -> None:
    made = dense(every_s)
    duration_s = 321.5 * every_s
    edges = [0.0, *sorted(RNG.uniform(0, duration_s, 40)), 64 * every_s, duration_s]
    together = [k for a, b in pairwise(sorted(edges)) for k in made.clip_numbers(a, b)]
    assert together == list(range(322))


def test_a_clip_begins_with_the_frame_on_display_and_goes_on_at_the_stride() -> None:
    times = np.arange(300) / 30
    indices = dense(2.0).dense_indices(times, range(2))
    assert indices.dtype == np.int64
    assert indices.tolist() == [list(range(0, 64, 4)), list(range(60, 124, 4))]
    swin = protocol("videoswin-k400", every_s=2.0).dense_indices(times, range(1))
    assert swin.tolist() == [list(range(0, 64, 2))]


def test_a_frame_that_lasts_is_on_display_until_the_next() -> None:
    times = np.array([0.0, 0.04, 7.0, 7.04, 9.0])
    first = dense(2.0, frames=1).dense_indices(times, range(5))[:, 0]
    assert first.tolist() == [0, 1, 1, 1, 3]


def test_a_frame_just_at_the_start_of_a_clip_is_on_display() -> None:
    tick_s = 1 / 90000
    times = np.arange(10_000) * 3003 * tick_s
    every_s = 30 * 3003 / 90000
    first = dense(every_s, frames=1).dense_indices(times, range(300))[:, 0]
    assert first.tolist() == list(range(0, 9000, 30))


def test_the_last_frame_repeats_past_the_end() -> None:
    times = np.arange(70) / 30
    indices = dense(2.0).dense_indices(times, range(1, 2))
    assert indices.tolist() == [[60, 64, 68] + [69] * 13]


def test_taking_a_part_of_the_frames_gives_the_same_frames() -> None:
    times = np.cumsum(RNG.uniform(0.01, 0.1, 2000))
    times -= times[0]
    made = dense(1.5)
    whole = made.dense_indices(times, range(10, 20))
    first, last = whole.min(), whole.max()
    part = made.dense_indices(times[first : last + 1], range(10, 20))
    assert np.array_equal(part + first, whole)


def test_dense_units_have_sixteen_clips_and_one_crop_by_default() -> None:
    made = dense(2.0)
    assert (made.clips, made.crops, made.frames) == (16, 1, 16)
    assert dense(2.0, views=(4, 3)).unit_s == 8.0
    assert dataclasses.replace(made, every_s=None).clip_indices(300).shape == (16, 16)


@pytest.mark.parametrize("name", ["videomae-ssv2", "videoswin-ssv2"])
def test_recipes_that_sample_the_whole_video_cannot_be_dense(name: str) -> None:
    with pytest.raises(ValueError, match="use videomae-k400 or videoswin-k400"):
        protocol(name, every_s=2.0, views=(1, 1))


@pytest.mark.parametrize("every_s", [0, -1.0, math.inf, math.nan])
def test_an_interval_is_a_finite_number_above_zero(every_s: float) -> None:
    with pytest.raises(ValueError, match="every_s must be"):
        dense(every_s)


@pytest.mark.parametrize(
    "question",
    [
        lambda made: made.unit_s,
        lambda made: made.stride,
        lambda made: made.clip_numbers(0.0, 1.0),
        lambda made: made.dense_indices(np.zeros(1), range(1)),
    ],
)
def test_a_protocol_without_an_interval_is_not_dense(question: object) -> None:
    with pytest.raises(ValueError, match="is not dense"):
        question(protocol("videomae-k400"))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2s", 2), ("500ms", 0.5), ("1.5", 1.5), ("2m", 120), ("1h", 3600), (" 2.5 s ", 2.5)],
)
def test_times_are_read_from_text(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-1s", "2x", "s", "1s2", "nan", "inf", "1e3"])
def test_other_texts_are_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="such as 2s"):
        parse_seconds(text)
