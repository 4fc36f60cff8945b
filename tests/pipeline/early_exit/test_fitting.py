"""Fitting: the rule is the labeling job's, and the guarantee holds at its confidence."""

import numpy as np
import pytest

from pipeline.early_exit.binomial import lower_bound
from pipeline.early_exit.fitting import AgreementGuarantee, Trace, thresholds
from pipeline.early_exit.margins import ViewMargins, views_used
from pipeline.errors import UsageError
from tests.early_exit_files import views_needed
from tests.sweep_runs import said
from workers.inference.early_exit import EarlyExit, needed_margin
from workers.sampling import view_order

ORDER = [clip * 3 + crop for clip, crop in view_order(5, range(3))]


def view_margins(videos, **how):
    return ViewMargins.of_probabilities(said(videos, **how)[0], ORDER)


def test_of_two_candidates_each_is_tested_at_half_the_error():
    each = AgreementGuarantee(0.99, 0.95).each_of(2)
    assert (each.agreement, each.confidence) == (0.99, pytest.approx(0.975))
    # Whichever is taken of two that are both below the guarantee, it is wrong at most 1 in 10.
    draw, guarantee = np.random.default_rng(5), AgreementGuarantee(0.98, 0.9)
    wrong = 0
    for _ in range(400):
        traces = [drawn([0.979], 400, draw) for _ in range(2)]
        wrong += any(trace.chosen(guarantee.each_of(2)) is not None for trace in traces)
    assert wrong / 400 <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 400)


def drawn(agreements, videos, draw):
    """Videos in which threshold k keeps the label with agreements[k]."""
    luck = draw.random(videos)
    missed = luck[None, :] >= np.asarray(agreements)[:, None]
    views = np.broadcast_to(np.arange(len(agreements), 0, -1)[:, None], missed.shape)
    return Trace(np.arange(len(agreements), 0.0, -1), views, missed)


def test_thresholds_run_from_all_views_to_one_and_never_depend_on_the_data():
    tried = thresholds(15)
    assert (np.diff(tried) < 0).all()
    known = view_margins(200)
    assert (views_used(known, tried[0]) == 15).all()
    assert (views_used(known, tried[-1]) == 1).all()
    # A confident model's videos stop all at once, just below the threshold that takes a
    # margin of 1 after one view, or after two.
    for seen in (1, 2):
        edge = 1 / needed_margin(seen, 15)
        assert ((tried > 0.9995 * edge) & (tried < edge)).sum() >= 2


@pytest.mark.parametrize("views", [2, 3, 6, 12, 15])
def test_every_protocol_has_a_threshold_that_evaluates_all_its_views(views):
    certain = ViewMargins(np.ones((1, views)), np.zeros((1, views), np.int64))
    assert views_used(certain, thresholds(views)[0]).tolist() == [views]
    assert (thresholds(views) <= max(views, 4)).all()


def test_views_are_counted_as_the_labeling_job_counts_them():
    known = view_margins(150, hard=0.5)
    for threshold in thresholds(15)[::7]:
        one_by_one = [views_needed(EarlyExit(threshold), each) for each in known.margins]
        assert views_used(known, threshold).tolist() == one_by_one


def test_labels_are_those_of_the_mean_over_the_views_so_far_and_ties_go_to_the_lower():
    probabilities = np.array([[[0, 5, 3], [6, 1, 1], [2, 1, 5]]], np.float32) / 8
    known = ViewMargins.of_probabilities(probabilities, [1, 0, 2])
    # Eighths: (6 1 1), (3 3 2) and thirds of (8 7 9).
    assert known.labels.tolist() == [[0, 0, 2]]
    assert known.margins[0] == pytest.approx([5 / 8, 0.0, 1 / 24])
    assert known.agreeing.tolist() == [[False, False, True]]
    with pytest.raises(ValueError, match="each of 3 views once"):
        ViewMargins.of_probabilities(probabilities, [0, 1, 1])


def test_the_last_threshold_before_the_first_that_fails_is_chosen():
    guarantee = AgreementGuarantee(0.99, 0.95)
    missed = np.zeros((5, 1200), np.bool_)
    missed[2, :6] = True
    missed[3, :7] = True  # one more than 1,200 videos allow; the next would pass again
    trace = Trace(np.arange(5.0, 0, -1), np.ones((5, 1200), np.int16), missed)
    assert trace.chosen(guarantee) == 2
    missed[3, 6] = False
    assert trace.chosen(guarantee) == 4
    assert trace.chosen(guarantee, np.arange(600, 1200)) == 4
    missed[1, :7] = True
    assert trace.chosen(guarantee) == 0
    missed[0, :7] = True  # of a reference that was decoded in another way
    assert trace.chosen(guarantee) is None


def test_the_guarantee_holds_at_its_confidence_although_thresholds_were_searched():
    # The worst case: many thresholds of nearly the guaranteed agreement, from above to below.
    agreements = np.linspace(1.0, 0.97, 60)
    draw, guarantee = np.random.default_rng(3), AgreementGuarantee(0.99, 0.9)
    chosen = [drawn(agreements, 400, draw).chosen(guarantee) for _ in range(600)]
    kept = np.mean(agreements[chosen] >= 0.99)
    # 0.9 is the guarantee; three standard errors of 600 trials below it.
    assert kept >= 0.9 - 3 * np.sqrt(0.9 * 0.1 / 600)
    # And it is no idle caution: some choices go past every threshold that keeps the guarantee.
    assert kept < 1


def test_a_higher_agreement_takes_more_views_and_keeps_more_labels():
    trace = Trace.of(view_margins(1500))
    points = [
        trace.curve(0.95)[trace.chosen(AgreementGuarantee(share, 0.95))] for share in (0.95, 0.99)
    ]
    assert points[0].views < points[1].views < 6
    assert points[0].agreement < points[1].agreement
    for point, share in zip(points, (0.95, 0.99), strict=True):
        assert point.low >= share


def test_the_curve_has_agreement_and_views_of_every_threshold():
    known = view_margins(300)
    trace = Trace.of(known)
    curve = trace.curve(0.9)
    assert [point.threshold for point in curve] == thresholds(15).tolist()
    assert curve[0].agreement == 1.0
    assert (curve[0].views, curve[0].views_sd) == (15.0, 0.0)
    assert curve[0].low == pytest.approx(0.1 ** (1 / 300))
    middle = curve[90]
    used = views_used(known, middle.threshold)
    hits = known.agreeing[np.arange(300), used - 1].sum()
    assert middle.agreement == pytest.approx(hits / 300)
    assert middle.low == lower_bound(int(hits), 300, 0.9)
    assert (middle.views, middle.views_sd) == pytest.approx((used.mean(), used.std()))


def test_too_few_videos_are_refused_with_how_many_it_takes():
    with pytest.raises(UsageError, match=r"needs at least 598 videos, and there are 300"):
        Trace.of(view_margins(300)).chosen(AgreementGuarantee(0.995, 0.95))


@pytest.mark.parametrize("agreement", [0.0, 1.0, 99.0])
def test_a_guarantee_of_all_or_of_nothing_is_refused(agreement):
    with pytest.raises(UsageError, match="--agreement must be above 0 and below 1"):
        AgreementGuarantee(agreement, 0.95)
