"""Cross-validation: only held-out videos count, and a guarantee that fails is found."""

import numpy as np
import pytest

from pipeline.early_exit.cross_validation import held_out, resample
from pipeline.early_exit.fitting import AgreementGuarantee, Trace
from pipeline.early_exit.margins import ViewMargins
from tests.sweep_runs import said

GUARANTEE = AgreementGuarantee(0.98, 0.95)


def trace_of(videos, **how):
    return Trace.of(ViewMargins.of_probabilities(said(videos, **how)[0], range(15)))


def test_the_held_out_half_alone_is_counted():
    trace = trace_of(800)
    half = np.arange(800) % 2 == 0
    found = held_out(trace, half, GUARANTEE)
    number = trace.chosen(GUARANTEE, np.flatnonzero(half))
    assert found.threshold == trace.thresholds[number]
    assert found.fitted_on == found.agreement.count == 400
    assert found.agreement.value == pytest.approx(1 - trace.missed[number, 1::2].mean())
    assert found.views.value == pytest.approx(trace.views[number, 1::2].mean())


def test_a_half_that_is_easier_than_the_other_breaks_the_guarantee():
    easy, hard = trace_of(400, hard=0.0), trace_of(400, hard=1.0, seed=1)
    both = Trace(
        easy.thresholds,
        np.concatenate([easy.views, hard.views], axis=1),
        np.concatenate([easy.missed, hard.missed], axis=1),
    )
    found = held_out(both, np.arange(800) < 400, GUARANTEE)
    assert found.agreement.high < 0.9


def test_the_guarantee_holds_on_the_other_half_of_nearly_all_resamplings():
    found = resample(trace_of(2000), GUARANTEE)
    assert found.count == 100
    assert found.kept == (found.agreements >= 0.98).sum()
    assert found.kept >= 90
    assert found.refuted <= 5
    assert 0.98 < found.agreements.mean() < 1
    assert ((found.views > 1) & (found.views < 5)).all()


def test_resampling_is_the_same_each_time():
    trace = trace_of(600)
    one, other = (resample(trace, GUARANTEE, count=10) for _ in range(2))
    assert np.array_equal(one.agreements, other.agreements)
    assert len(set(one.views)) > 1


def test_halves_too_small_for_the_guarantee_prove_nothing():
    trace = trace_of(200)
    assert resample(trace, GUARANTEE) is None
    assert held_out(trace, np.arange(200) < 100, GUARANTEE) is None
    assert held_out(trace, np.ones(200, np.bool_), GUARANTEE) is None
