from __future__ import annotations

import math

import numpy as np
import pytest

from workers.view_policy import ViewPolicy, leads, needed_lead, view_order, views_needed

VIEWS = 15


def test_the_middle_of_the_video_is_looked_at_first_and_every_view_once() -> None:
    order = view_order(5, 3)
    assert order[:5] == [(2, 1), (0, 1), (4, 1), (1, 1), (3, 1)]
    assert sorted(order) == [(clip, crop) for clip in range(5) for crop in range(3)]
    assert view_order(1, 1) == [(0, 0)]


def test_the_needed_lead_falls_from_one_after_the_first_view_to_none_after_the_last() -> None:
    needed = [needed_lead(seen, VIEWS) for seen in range(1, VIEWS + 1)]
    assert needed[0] == 1
    assert needed[-1] == 0
    assert needed == sorted(needed, reverse=True)


def test_the_needed_lead_is_the_error_of_a_mean_over_views_drawn_without_replacement() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=VIEWS)
    drawn = np.array([rng.permutation(values)[:4].mean() for _ in range(20_000)])
    assert drawn.std() == pytest.approx(values.std() * needed_lead(4, VIEWS), rel=0.03)


def test_the_lead_is_that_of_the_mean_over_the_views_so_far() -> None:
    views = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.0, 0.4, 0.6]], np.float32)
    assert leads(views) == pytest.approx([0.8, 0.0, 1.4 / 3 - 1.0 / 3], abs=1e-7)


def test_an_infinite_margin_looks_at_every_view_and_none_at_one() -> None:
    sure = np.ones(VIEWS)
    assert views_needed(ViewPolicy(math.inf), sure) == VIEWS
    assert views_needed(ViewPolicy(0.0), np.zeros(VIEWS)) == 1


def test_no_more_views_than_allowed_are_looked_at() -> None:
    assert views_needed(ViewPolicy(math.inf, most=4), np.zeros(VIEWS)) == 4


def test_many_leads_are_judged_as_each_by_itself() -> None:
    rng = np.random.default_rng(1)
    seen = rng.integers(1, VIEWS + 1, 500)
    found = rng.uniform(size=500)
    for policy in (ViewPolicy(0.7), ViewPolicy(math.inf), ViewPolicy(1.3, most=6)):
        together = policy.are_settled(found, seen=seen, views=VIEWS)
        alone = [
            policy.is_settled(lead, seen=count, views=VIEWS)
            for lead, count in zip(found.tolist(), seen.tolist(), strict=True)
        ]
        assert together.tolist() == alone
        assert 0 < sum(alone) < 500


@pytest.mark.parametrize(("margin", "most"), [(-0.1, None), (math.nan, None), (1.0, 0)])
def test_a_policy_that_makes_no_sense_is_refused(margin: float, most: int | None) -> None:
    with pytest.raises(ValueError, match="must be"):
        ViewPolicy(margin, most)
