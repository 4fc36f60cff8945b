"""Measured rates: what a shadow sample adds to them."""

import pytest

from tests.pipeline.planner.made_up_rates import rates


def test_a_shadow_sample_makes_pruned_labeling_slower_by_its_share_of_the_unpruned():
    pruned, unpruned = rates(pruned=0.1, unpruned=0.2).with_shadow(0.25).labelings
    assert pruned.unit_s == pytest.approx(0.1 + 0.25 * 0.2)
    assert unpruned.unit_s == 0.2
