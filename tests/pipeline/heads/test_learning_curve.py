import numpy as np
import pytest

from pipeline.heads.learning_curve import power_law

SIZES = np.array([60, 120, 180, 240])


def forecast(errors):
    return power_law(SIZES, errors[None], 600)[0]


@pytest.mark.parametrize(("exponent", "floor"), [(0.5, 0.0), (0.5, 0.1), (1.0, 0.05)])
def test_a_power_law_is_continued(exponent, floor):
    errors = floor + 2 * SIZES**-exponent
    assert forecast(errors) == pytest.approx(floor + 2 * 600**-exponent)


def test_an_error_that_does_not_fall_stays_where_it_is():
    assert forecast(np.full(4, 0.2)) == pytest.approx(0.2)


def test_an_error_that_grows_is_not_forecast_to_grow():
    assert forecast(np.array([0.1, 0.2, 0.3, 0.4])) == pytest.approx(0.25)


def test_no_error_is_forecast_below_zero():
    assert forecast(np.array([0.6, 0.2, 0.1, 0.0])) >= 0
