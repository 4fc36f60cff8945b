"""An even sample of a sequence of unknown length."""

import numpy as np
import pytest

from pipeline.planner.stride_sample import StrideSample


@pytest.mark.parametrize("count", [1, 7, 8, 9, 100, 12_345])
def test_a_stride_sample_is_evenly_spaced_and_bounded(count):
    sample = StrideSample(8)
    for item in range(count):
        sample.add(item)
    assert sample.seen == count
    assert min(count, 4) <= len(sample.kept) <= 8
    assert len(set(np.diff(sample.kept))) <= 1
    assert sample.kept[0] == 0
    assert sample.kept[-1] >= count - 2 * count / len(sample.kept) - 1
