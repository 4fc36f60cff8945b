"""The kept-token maps of an archive: the mean of every view's maps, or of a spread sample."""

import numpy as np
import pytest

from pipeline.reports.run.kept import read_kept
from tests.pipeline.run.test_tables import failed, ok
from tests.report_runs import made_run
from workers.inference.labeler import pack_mask

GRIDS = ((2, 3, 3), (3, 2, 2), (2, 2, 3))


def masked(name, masks):
    """A row whose views have these masks: (views, stages) of bool (n_t, rows, columns)."""
    row = ok(name, views=len(masks))
    for view, stages in zip(row["views"], masks, strict=True):
        view["kept_token_maps"] = [pack_mask(mask) for mask in stages]
        view["tokens_kept"] = [int(mask.sum()) for mask in stages]
    return row


def drawn(draw, views):
    return [[draw.random(grid) < 0.4 for grid in GRIDS] for _ in range(views)]


@pytest.fixture(scope="module")
def masks():
    draw = np.random.default_rng(3)
    return {f"v{number:02d}": drawn(draw, 3) for number in range(40)}


@pytest.fixture(scope="module")
def run(masks, tmp_path_factory):
    rows = [masked(name, each) for name, each in masks.items()]
    rows.insert(7, failed("broken"))
    files = [rows[start : start + 4] for start in range(0, len(rows), 4)]
    return made_run(tmp_path_factory.mktemp("run"), *files)


def test_shares_are_the_mean_over_the_maps_of_all_views(run, masks):
    kept = read_kept(run, GRIDS)
    assert (kept.views, kept.of_views) == (120, 120)
    for number, (stage, grid) in enumerate(zip(kept.stages, GRIDS, strict=True)):
        every = np.array([view[number] for views in masks.values() for view in views])
        mean = every.mean(axis=0)
        assert stage.share == pytest.approx(mean.mean())
        assert stage.by_time == pytest.approx(mean.mean(axis=(1, 2)))
        assert stage.by_position.ravel() == pytest.approx(mean.mean(axis=0).ravel())
        assert stage.grid == grid


@pytest.mark.parametrize("most", [1, 5, 30, 119])
def test_beyond_its_bound_a_sample_is_spread_over_the_archive(run, masks, most):
    kept = read_kept(run, GRIDS, most_views=most)
    assert kept.of_views == 120
    assert most / 2 <= kept.views <= most
    if most >= 30:
        every = np.array([view[0] for views in masks.values() for view in views])
        assert kept.stages[0].share == pytest.approx(every.mean(), abs=0.05)


def test_a_sample_takes_from_the_first_and_from_the_last_of_the_archive(tmp_path):
    views = 10
    shapes = [np.ones(grid, bool) for grid in GRIDS], [np.zeros(grid, bool) for grid in GRIDS]
    files = [[masked(f"v{n}", [shapes[n >= 5]] * views)] for n in range(10)]
    kept = read_kept(made_run(tmp_path, *files), GRIDS, most_views=40)
    assert kept.views == 40
    assert kept.stages[0].share == 0.5


def test_an_unpruned_run_and_one_without_labels_have_no_maps(run, tmp_path):
    assert read_kept(run, []) is None
    assert read_kept(made_run(tmp_path, [failed("a")]), GRIDS) is None
