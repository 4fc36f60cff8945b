"""Days, months and years of a column of dates, as groups."""

from __future__ import annotations

import datetime
from typing import Literal, get_args

from pipeline.errors import UsageError

Period = Literal["day", "month", "year"]

PERIODS: tuple[Period, ...] = get_args(Period)

# Characters of an ISO 8601 date that name its period.
_LENGTHS: dict[Period, int] = {"day": 10, "month": 7, "year": 4}


def column_and_period(by: str) -> tuple[str, Period | None]:
    """The column that --by names, and the period of COLUMN:day, COLUMN:month or COLUMN:year."""
    column, _, last = by.rpartition(":")
    for period in PERIODS:
        if column and last == period:
            return column, period
    return by, None


def period_of(text: str, period: Period, column: str) -> str:
    """The period that a date or time lies in, such as 2024-03, as it is written: a time is not
    moved to another time zone. An empty text has none.

    Raises:
        UsageError: the text is neither empty nor ISO 8601.
    """
    if not text:
        return ""
    try:
        day = datetime.datetime.fromisoformat(text.strip()).date()
    except ValueError:
        raise UsageError(
            f"column {column!r} has {text!r}, which is no ISO 8601 date or time, such as "
            f"2024-03-05 or 2024-03-05T10:30:00Z; --by {column} groups by its texts"
        ) from None
    return day.isoformat()[: _LENGTHS[period]]
