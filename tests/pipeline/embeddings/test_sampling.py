"""A sample depends on ids alone, is bounded, and holds one unit of each video."""

import numpy as np
import pytest

from pipeline.embeddings.sampling import VideoSample, is_held_out


def filled(rows, capacity):
    sample = VideoSample(capacity)
    for video_id, unit_id in rows:
        vector = np.full((1, 3), float(unit_id.rpartition("/")[2]), np.float16)
        sample.add([video_id], [unit_id], ["a"], vector)
    return sample


def test_the_order_of_rows_changes_nothing_and_memory_is_bounded():
    rows = [(f"v{video}", f"v{video}/{unit}") for video in range(300) for unit in range(3)]
    there = filled(rows, 40)
    mixed = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    units = [unit.unit_id for unit in filled(mixed, 40).units()]
    assert units == [unit.unit_id for unit in there.units()]
    assert np.array_equal(filled(mixed, 40).vectors(), there.vectors())
    assert len(there) == len(there._largest) == 40
    assert len({unit.video_id for unit in there.units()}) == 40


def test_two_runs_sample_the_same_of_the_videos_that_both_hold():
    one = filled([(f"v{number}", f"v{number}/1") for number in range(500)], 50)
    other = filled([(f"v{number}", f"v{number}/2") for number in range(500)], 50)
    assert [unit.video_id for unit in one.units()] == [unit.video_id for unit in other.units()]


def test_about_half_of_the_videos_are_held_out():
    assert 450 < sum(is_held_out(f"video {number}") for number in range(1000)) < 550


def test_a_sample_without_embeddings_has_no_vectors():
    sample = VideoSample(2)
    sample.add(["a"], ["a"], ["x"])
    assert [unit.label for unit in sample.units()] == ["x"]
    with pytest.raises(ValueError, match="without embeddings"):
        sample.vectors()
    with pytest.raises(ValueError, match="1 or more; got 0"):
        VideoSample(0)
