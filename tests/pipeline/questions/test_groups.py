import math

import numpy as np
import pytest

from pipeline.questions.groups import neyman, proportional, simultaneous_alpha


def test_a_proportional_sample_has_each_group_by_its_size():
    assert proportional([600, 300, 100], 50).tolist() == [30, 15, 5]


def test_each_group_has_a_unit_and_no_more_than_it_holds():
    assert proportional([1_000_000, 3, 1], 100).tolist() == [98, 1, 1]
    assert proportional([5, 5], 100).tolist() == [5, 5]


@pytest.mark.parametrize("total", [7, 50, 333, 1_000])
def test_the_sizes_add_up_to_the_total(total):
    assert proportional([431, 277, 190, 102], total).sum() == total
    assert neyman([431, 277, 190, 102], [0.1, 0.5, 0.3, 0.2], total).sum() == total


def test_neyman_gives_more_to_what_varies_more():
    assert neyman([1_000, 1_000], [0.1, 0.3], 400).tolist() == [100, 300]


def test_what_a_full_group_cannot_take_goes_to_the_others():
    assert neyman([50, 1_000], [0.5, 0.1], 400).tolist() == [50, 350]


def test_units_that_look_alike_do_not_leave_a_group_unseen():
    assert neyman([1_000, 1_000], [0.5, 0.0], 600).tolist() == [500, 100]


def test_no_deviation_at_all_is_proportional():
    assert neyman([300, 100], [0, 0], 40).tolist() == [30, 10]


def test_simultaneous_answers_share_alpha():
    assert simultaneous_alpha(0.05, 10) == pytest.approx(0.005)


@pytest.mark.parametrize("wrong", [[0.1], [0.1, math.nan], [0.1, -1]])
def test_wrong_deviations_are_refused(wrong):
    with pytest.raises(ValueError, match="2 numbers of 0 or more"):
        neyman([10, 10], wrong, 5)


@pytest.mark.parametrize("populations", [[], [5, 0]])
def test_groups_without_units_are_refused(populations):
    with pytest.raises(ValueError, match="populations"):
        proportional(populations, 5)


def test_a_stratified_sample_of_one_group_is_the_whole_sample():
    assert proportional([10], 4).tolist() == [4]
    assert np.issubdtype(proportional([10], 4).dtype, np.int64)
