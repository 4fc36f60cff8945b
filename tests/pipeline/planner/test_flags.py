"""Flags of the planner are refused when they are parsed, not after the minute of measuring."""

import dataclasses

import pytest

from pipeline.errors import UsageError
from pipeline.planner.flags import PlanFlags

NUMBERS = [each.name for each in dataclasses.fields(PlanFlags) if "float" in each.type]
NUMBERS += [each.name for each in dataclasses.fields(PlanFlags) if "int" in each.type]


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_out_of_range_is_refused_by_the_name_of_its_flag(name, value):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must be "):
        PlanFlags(**{name: value})


def test_videos_and_hours_are_not_given_together():
    with pytest.raises(UsageError, match="not both"):
        PlanFlags(videos=3, archive_hours=2.0)
