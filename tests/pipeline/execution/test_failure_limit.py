"""The limit on failures: it stops what is plainly wrong early, and nothing else."""

import random

import pytest

from pipeline.errors import UsageError
from pipeline.execution.failure_limit import FailureLimit


@pytest.mark.parametrize(
    ("text", "share"), [("5%", 0.05), ("0.05", 0.05), ("0%", 0.0), ("100 %", 1.0), (".5", 0.5)]
)
def test_a_share_is_written_as_percent_or_number(text, share):
    assert FailureLimit.parse(text).share == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "five", "5", "-1%", "101%", "5%%"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(UsageError, match="a share is"):
        FailureLimit.parse(text)


def stopped_at(limit, outcomes, total):
    """After how many units a run with these outcomes (True: failed) is stopped; None: never."""
    failed = 0
    for done, outcome in enumerate(outcomes, start=1):
        failed += outcome
        if limit.is_exceeded(failed=failed, done=done, total=total):
            return done
    return None


def test_an_input_of_which_all_fails_is_stopped_after_fifty_of_a_million():
    assert stopped_at(FailureLimit(0.05), [True] * 100, 1_000_000) == 50


def test_a_few_broken_videos_at_the_beginning_of_a_sound_archive_are_not_the_end():
    outcomes = [True] * 5 + [False] * 995
    assert stopped_at(FailureLimit(0.05), outcomes, 1000) is None


def test_a_run_within_its_limit_is_not_stopped_by_chance():
    stopped = 0
    for seed in range(300):
        draw = random.Random(seed)
        outcomes = [draw.random() < 0.04 for _ in range(2000)]
        stopped += stopped_at(FailureLimit(0.05), outcomes, 100_000) is not None
    assert stopped <= 3


def test_more_failures_than_the_whole_run_may_have_stop_it_at_once():
    limit = FailureLimit(0.05)
    assert not limit.is_exceeded(failed=1, done=1, total=20)
    assert limit.is_exceeded(failed=2, done=2, total=20)


def test_no_failure_at_all_may_be_asked_for():
    assert FailureLimit(0.0).is_exceeded(failed=1, done=900, total=1000)
    assert not FailureLimit(0.0).is_exceeded(failed=0, done=900, total=1000)
