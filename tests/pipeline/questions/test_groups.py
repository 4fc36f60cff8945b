import pytest

from pipeline.questions.groups import simultaneous_alpha


def test_simultaneous_answers_share_alpha():
    assert simultaneous_alpha(0.05, 10) == pytest.approx(0.005)


def test_no_answers_are_refused():
    with pytest.raises(ValueError, match="answers must be 1 or more; got 0"):
        simultaneous_alpha(0.05, 0)
