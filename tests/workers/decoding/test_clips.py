"""Clips are picked from a stream of frames as they would be from a list of all their times."""

from collections.abc import Callable
from itertools import pairwise

import av
import numpy as np
import pytest

from pipeline.inputs.manifest import unit_spans
from workers.decoding.clips import ClipPicker
from workers.decoding.frames import FrameStore, Pixels
from workers.decoding.seek_window import Need
from workers.decoding.sequential import FrameClock
from workers.sampling import Protocol, protocol


def allocator() -> Callable[[tuple[int, int, int, int]], Pixels]:
    """Memory that keeps what it holds when more of it is asked for, as the child's does."""
    room = np.zeros(0, dtype=np.uint8)

    def allocate(shape: tuple[int, int, int, int]) -> Pixels:
        nonlocal room
        size = int(np.prod(shape))
        room = np.concatenate([room, np.zeros(max(0, size - len(room)), dtype=np.uint8)])
        return room[:size].reshape(shape)

    return allocate


def frame(number: int) -> av.VideoFrame:
    """A frame of 2 x 2 pixels whose color is its number."""
    color = [number % 256, number // 256, 0]
    pixels = np.full((2, 2, 3), color, dtype=np.uint8)
    return av.VideoFrame.from_ndarray(pixels, format="rgb24")


def picked(
    made: Protocol, times: np.ndarray, span: tuple[float | None, float | None], *, from_frame: int
) -> tuple[np.ndarray, int, int]:
    """(frame numbers of each clip, number of the first clip, frames of the unit)."""
    allocate = allocator()
    store = FrameStore(3, made, allocate, output_bytes=1 << 30, growing=True)
    picker = ClipPicker(made, Need.of(made, *span), store)
    for number in range(from_frame, len(times)):
        picker.take(float(times[number]), frame(number))
        if picker.done:
            break
    picker.finish(float(times[-1]) + 0.04)
    decoded = picker.decoded(float(times[-1]) + 0.04, 0)
    pixels = allocate(decoded.shape)
    numbers = pixels[:, 0, 0, 0].astype(int) + 256 * pixels[:, 0, 0, 1].astype(int)
    return numbers[decoded.clip_frames], decoded.first_clip, decoded.frame_count


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["videomae-k400", "videoswin-k400"])
def test_the_same_frames_as_by_their_times(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = protocol(name, size=2, frames=5, every_s=float(rng.uniform(0.05, 1.5)), views=(3, 1))
    times = np.concatenate([[0.0], np.cumsum(rng.choice([0.0, 0.02, 0.04, 0.9], 300))])
    length_s = float(times[-1]) + 0.04
    expected = made.dense_indices(times, made.clip_numbers(0.0, length_s))
    clips, frames = [], 0
    for span in unit_spans(length_s, made.unit_s):
        early = max(0, int(np.searchsorted(times, span[0] or 0.0)) - int(rng.integers(1, 9)))
        early = int(np.searchsorted(times, times[early]))
        numbers, first, count = picked(made, times, span, from_frame=early)
        assert first == len(clips)
        clips += numbers.tolist()
        frames += count
    assert clips == expected.tolist()
    assert frames == len(times)


def test_times_never_go_back_and_go_on_where_another_count_begins() -> None:
    clock = FrameClock(0.001, 0.04)
    ticks = [*range(0, 4000, 40), *range(0, 4000, 40)]
    times = [clock.at(tick) for tick in ticks]
    assert all(a <= b for a, b in pairwise(times))
    assert times[99] == pytest.approx(3.96)
    assert times[-1] == pytest.approx(7.96, abs=0.05)


def test_a_timestamp_that_is_wrong_moves_no_other_frame() -> None:
    clock = FrameClock(0.001, 0.04)
    ticks: list[int | None] = [*range(0, 4000, 40)]
    ticks[50] = 5
    ticks[60] = ticks[59]
    times = [clock.at(tick) for tick in ticks]
    good = [i for i in range(100) if i not in (50, 60)]
    assert [times[i] for i in good] == pytest.approx([0.04 * i for i in good])
    assert times[50] == times[49]
    assert times[60] == times[59]


def test_frames_without_timestamps_come_at_the_frame_rate() -> None:
    clock = FrameClock(0.001, 0.04)
    assert [clock.at(None) for _ in range(4)] == pytest.approx([0.0, 0.04, 0.08, 0.12])
