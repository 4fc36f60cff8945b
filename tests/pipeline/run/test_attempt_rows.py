"""Rows and the attempts that made them: attempts that ended, were killed, or differ in devices."""

import datetime

import pyarrow as pa
import pytest

from pipeline.run.attempt_rows import AttemptRows
from tests.report_runs import at, attempt
from tests.run_records import run_record

BEGAN_S = at(0).timestamp()


def rows(*seconds, device_ms=1.0, shadow_ms=None):
    """Rows made so many seconds after the run began; None for an unknown time."""
    count = len(seconds)
    return pa.table(
        {
            "labeled_at": pa.array(
                [None if each is None else at(each) for each in seconds], pa.timestamp("ms", "UTC")
            ),
            "device_ms": pa.array([device_ms] * count, pa.float64()),
            "unpruned_device_ms": pa.array([shadow_ms] * count, pa.float64()),
        }
    )


def added(attempts, *seconds, **more):
    found = AttemptRows(run_record({"attempts": attempts}).attempts)
    found.add(rows(*seconds, **more))
    return found


def spans(attempts, *seconds):
    found = added(attempts, *seconds).spans()
    return [(round(each.began - BEGAN_S, 3), round(each.ended - BEGAN_S, 3)) for each in found]


def test_an_attempt_lasts_from_its_beginning_to_its_end():
    assert spans([attempt(0, 50)], 20) == [(0, 50)]


def test_a_killed_attempt_ends_with_its_last_row_before_the_next():
    assert spans([attempt(0, None), attempt(60, None)], 70, 10, 30) == [(0, 30), (60, 70)]


def test_a_killed_attempt_without_rows_took_no_time():
    assert spans([attempt(0, None), attempt(60, 90)], 70) == [(0, 0), (60, 90)]
    assert spans([attempt(0, 20), attempt(60, None), attempt(90, 95)], 10)[1] == (60, 60)
    assert spans([attempt(0, None)]) == [(0, 0)]


def test_times_without_a_zone_are_utc():
    naive = at(0).replace(tzinfo=None).isoformat()
    (made,) = run_record({"attempts": [attempt(0, 9) | {"began": naive}]}).attempts
    assert made.began == at(0).astimezone(datetime.UTC)


def test_device_time_is_of_the_devices_of_the_attempt_that_made_the_row():
    found = added([attempt(0, 30), attempt(40, 60, gpus=1.0)], 10, 45, 50, shadow_ms=2.0)
    assert found.device_ns.tolist() == [1_000_000, 2_000_000]
    assert found.shadow_ns.tolist() == [2_000_000, 4_000_000]
    time = found.device_time(found.device_ns)
    assert (time.core_s, time.gpu_s) == pytest.approx((0.002, 0.002))  # two cores a labeler


def test_a_row_without_a_time_belongs_to_the_last_attempt_and_a_row_before_the_first_to_it():
    found = added([attempt(10, 30), attempt(40, 60)], 5, None)
    assert found.device_ns.tolist() == [1_000_000, 1_000_000]


def test_what_was_held_is_the_cluster_of_each_attempt():
    held = added([attempt(0, 60, gpus=2.0), attempt(100, 130)]).held()
    assert (held.gpu_s, held.core_s) == (120, 90 * 8)


def test_the_rows_that_came_first_end_the_start_of_an_attempt():
    found = AttemptRows(run_record({"attempts": [attempt(0, 60), attempt(100, 160)]}).attempts)
    found.add(rows(20, 12, 10, 130, None))
    found.add(rows(10, 30, 11))
    assert found.rows.tolist() == [6, 1]
    assert found.first_rows.tolist() == [2, 1]
    assert found.making() == [20, 0]
    assert added([attempt(0, 60)]).making() == [0]
