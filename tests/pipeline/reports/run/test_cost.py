"""What a run cost: GPUs where labelers had them, cores where not."""

import pytest

from pipeline.prices import Prices
from pipeline.reports.run.cost import cost
from pipeline.reports.run.spans import Span
from tests.report_runs import attempt

PRICES = Prices(gpu_hour=3600.0, core_hour=36.0, read_gb=2.0, get_1000=0.5, currency="EUR")
WORK = {"device_s": 100.0, "decode_s": 500.0, "bytes_read": 3 * 10**9, "gets": 4000}


def test_on_gpus_device_time_is_theirs_and_the_cluster_is_all_that_is_held():
    attempts = [attempt(0, 60, gpus=2.0), attempt(100, 130, gpus=2.0)]
    found = cost(PRICES, attempts, [Span(0, 60), Span(100, 130)], **WORK)
    assert found.labeling == pytest.approx(100 * 2)
    assert found.decoding == pytest.approx(500 * 0.01)
    assert found.reading == 6.0 + 2.0
    assert found.rows == found.labeling + found.decoding + found.reading
    assert found.reserved == pytest.approx(90 * (2 * 1.0 + 8 * 0.01) + 8)


def test_without_gpus_device_time_is_that_of_the_labelers_cores():
    found = cost(PRICES, [attempt(0, 60)], [Span(0, 60)], **WORK)
    assert found.labeling == pytest.approx(100 * 2 * 0.01)
    assert found.reserved == pytest.approx(60 * 8 * 0.01 + 8)


def test_what_was_reserved_is_not_known_where_no_attempt_is():
    found = cost(PRICES, [], [], **WORK)
    assert found.reserved is None
    assert found.labeling == pytest.approx(100 * 0.01)
