"""A part of a running job is killed at a random moment: every video comes exactly once.

`python -m tests.faults.kill` does the same many times over.
"""

import random

import pytest

from tests.faults.kill import TARGETS, make_scene, run_round

pytestmark = pytest.mark.drill


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return make_scene(tmp_path_factory.mktemp("scene"), videos=32)


@pytest.mark.parametrize("target", TARGETS)
def test_every_video_comes_exactly_once_whatever_is_killed(target, scene, tmp_path):
    for _ in range(3):  # a job may be over before the moment that was drawn
        outcome = run_round(scene, target, random.randrange(10**6), tmp_path)
        print(outcome.line())
        assert outcome.problem is None, outcome.line()
        if outcome.kills:
            return
    pytest.fail("nothing was killed")
