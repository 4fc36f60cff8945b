"""Dates and times of a list are grouped by day, month or year."""

import pytest

from pipeline.errors import UsageError
from pipeline.questions.periods import column_and_period, period_of


@pytest.mark.parametrize(
    ("by", "found"),
    [
        ("camera", ("camera", None)),
        ("date:day", ("date", "day")),
        ("taken:at:month", ("taken:at", "month")),
        ("date:year", ("date", "year")),
        ("date:week", ("date:week", None)),
        (":day", (":day", None)),
    ],
)
def test_a_period_stands_behind_the_column(by, found):
    assert column_and_period(by) == found


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2024-03-05", "2024-03-05"),
        ("20240305", "2024-03-05"),
        ("2024-03-05T23:30:00Z", "2024-03-05"),
        ("2024-03-05 23:30:00.25", "2024-03-05"),
        # As it is written: in UTC it is the next day.
        ("2024-03-05T23:30:00-08:00", "2024-03-05"),
        ("", ""),
    ],
)
def test_a_date_or_time_lies_in_a_day_a_month_and_a_year(text, days):
    assert period_of(text, "day", "date") == days
    assert period_of(text, "month", "date") == days[:7]
    assert period_of(text, "year", "date") == days[:4]


@pytest.mark.parametrize("text", ["yesterday", "05/03/2024", "1709680000"])
def test_a_text_that_is_no_date_is_refused_and_named(text):
    with pytest.raises(UsageError, match=f"column 'date' has '{text}', which is no ISO 8601"):
        period_of(text, "month", "date")
