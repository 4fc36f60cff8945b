"""Sums that are exact: past 64 bits, and in whatever order."""

import numpy as np
import pyarrow as pa

from pipeline.run.sums import exact_sum, filled, nanoseconds, total


def test_sums_of_whole_numbers_go_past_64_bits():
    assert exact_sum(filled(pa.array([2**62, None, 2**62, 2**62 + 1, 3]))) == 3 * 2**62 + 4
    assert exact_sum(filled(pa.array([], pa.int64()))) == 0


def test_sums_of_times_do_not_depend_on_their_order():
    times = np.random.default_rng(1).exponential(100.0, 10_000)
    parts = [int(nanoseconds(pa.array(part), 1e6).sum()) for part in np.array_split(times[::-1], 7)]
    assert nanoseconds(pa.array(times), 1e6).sum() == sum(parts)
    assert nanoseconds(pa.array([1.0, None, 0.5]), 1e6).tolist() == [1_000_000, 0, 500_000]


def test_the_sum_of_nothing_is_nothing():
    assert total(pa.array([None, None], pa.float64())) == 0
