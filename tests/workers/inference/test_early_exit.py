"""EarlyExit: when a video needs no further view. view_order: which view comes next."""

import itertools
import math

import numpy as np
import pytest

from tests.early_exit_files import views_needed
from workers.inference.early_exit import EarlyExit, margin, margins, needed_margin
from workers.sampling import view_order


@pytest.mark.parametrize(("clips", "crops"), [(1, 1), (5, 3), (4, 3), (2, 3), (10, 1)])
def test_every_view_comes_once_and_the_middle_one_first(clips, crops):
    order = view_order(clips, range(crops))
    assert sorted(order) == [(clip, crop) for clip in range(clips) for crop in range(crops)]
    assert order[0] == (0, crops // 2)


def test_all_crops_of_a_clip_come_before_the_next_clip():
    assert view_order(5, range(3))[:6] == [(0, 1), (0, 0), (0, 2), (1, 1), (1, 0), (1, 2)]


def test_the_needed_margin_falls_from_one_to_zero():
    needed = [needed_margin(seen, 15) for seen in range(1, 16)]
    assert (needed[0], needed[-1]) == (1.0, 0.0)
    assert all(one > other for one, other in itertools.pairwise(needed))
    assert needed_margin(1, 1) == 0.0


def test_margins_are_those_of_the_mean_so_far():
    views = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]], np.float32)
    assert margins(views) == pytest.approx([0.5, 0.1, 0.3], abs=1e-6)


def test_a_running_sum_gives_the_same_margins():
    """A labeler sees one view at a time and must stop where a simulation stops."""
    rng = np.random.default_rng(0)
    views = rng.dirichlet(np.full(400, 0.05), 15).astype(np.float32)
    total, running = np.zeros(400), []
    for seen, each in enumerate(views, start=1):
        total += each
        running.append(float(margin(total / seen)))
    assert running == margins(views).tolist()


def test_margins_are_float32_values():
    views = np.random.default_rng(1).dirichlet(np.ones(7), 15).astype(np.float32)
    found = margins(views)
    assert found.astype(np.float32).astype(np.float64).tolist() == found.tolist()


def test_the_margin_of_a_single_class_is_its_probability():
    assert margins(np.ones((3, 1), np.float32)).tolist() == [1.0, 1.0, 1.0]


def test_early_exit_stops_at_the_first_sufficient_margin():
    early_exit = EarlyExit(threshold=1.0)
    enough = [needed_margin(seen, 4) for seen in range(1, 5)]
    assert views_needed(early_exit, np.array([1.0, 0, 0, 0])) == 1
    assert views_needed(early_exit, np.array([0.9, enough[1], 0, 0])) == 2
    assert views_needed(early_exit, np.zeros(4)) == 4
    assert views_needed(EarlyExit(1.0, max_views=3), np.zeros(4)) == 3
    assert views_needed(EarlyExit(math.inf), np.ones(4)) == 4
    assert views_needed(EarlyExit(0.0), np.zeros(4)) == 1


@pytest.mark.parametrize(
    "settings", [{"threshold": -1.0}, {"threshold": math.nan}, {"max_views": 0}]
)
def test_invalid_settings_are_refused(settings):
    with pytest.raises(ValueError, match="must be"):
        EarlyExit(**{"threshold": 1.0} | settings)


def test_the_needed_margin_is_the_error_of_a_mean_over_views_drawn_without_replacement() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=15)
    drawn = np.array([rng.permutation(values)[:4].mean() for _ in range(20_000)])
    assert drawn.std() == pytest.approx(values.std() * needed_margin(4, 15), rel=0.03)


def test_should_stop_each_agrees_with_should_stop() -> None:
    rng = np.random.default_rng(1)
    seen = rng.integers(1, 15 + 1, 500)
    found = rng.uniform(size=500)
    for early_exit in (EarlyExit(0.7), EarlyExit(math.inf), EarlyExit(1.3, max_views=6)):
        together = early_exit.should_stop_each(found, seen=seen, views=15)
        alone = [
            early_exit.should_stop(margin, seen=count, views=15)
            for margin, count in zip(found.tolist(), seen.tolist(), strict=True)
        ]
        assert together.tolist() == alone
        assert 0 < sum(alone) < 500


@pytest.mark.parametrize(("max_views", "count"), [(None, 15), (4, 4)])
def test_nan_margins_stop_at_the_last_view(max_views, count) -> None:
    said = margins(np.full((15, 3), np.nan, np.float32))
    assert views_needed(EarlyExit(0.5, max_views), said) == count
    early_exit = EarlyExit(0.5, max_views)
    stop = early_exit.should_stop_each(said[:count], seen=np.arange(1, count + 1), views=15)
    assert stop.tolist() == [False] * (count - 1) + [True]
