"""The screen tells of each number on what it rests, and of a difference what is subtracted."""

import pytest

from pipeline.questions.answer import text
from tests.pipeline.questions.made_answers import answer, number, source


def said(found):
    lines = text(found).splitlines()
    assert all(len(line) <= 80 for line in lines)
    return "\n".join(lines)


def test_each_of_several_numbers_tells_how_many_units_were_looked_at():
    numbers = (number(), number(group="east", seen=12, units=12))
    told = said(answer("share of a", source(*numbers), by="camera"))
    assert "a: 25.0 % (15.0 to 35.0), 40 of 50 looked at, with 95 % confidence" in told
    assert "a, east: 25.0 % (exact: all were labeled), 12 looked at" in told


@pytest.mark.parametrize(
    ("question", "shown"),
    [
        ("rate of a per hour", "12 per hour (10 to 14), 40 of 50 looked at"),
        ("mean of speed for a", "12 (10 to 14), 40 of 50 looked at"),
    ],
)
def test_a_rate_and_a_mean_tell_on_how_many_units_they_rest(question, shown):
    assert shown in said(answer(question, source(number(value=12, half=2))))


def test_the_confidence_stands_behind_the_first_number_that_is_not_exact():
    numbers = (number(group="east", seen=12, units=12), number(group="west"))
    told = " ".join(said(answer("share of a", source(*numbers))).split())
    assert "12 looked at a, west: 25.0 %" in told
    assert "40 of 50 looked at, with 95 % confidence" in told


def test_an_exact_answer_has_no_confidence():
    exact = source(number(seen=50), seen=50)
    assert "confidence" not in said(answer("share of a", exact))


def test_a_difference_of_two_inputs_tells_which_is_subtracted():
    sides = source(number(), name="this"), source(number(), name="that")
    told = said(answer("share of a", *sides, differences=[number(value=0.02)]))
    assert "Difference: a: 2.00 points (-8.00 to 12.0)\n           (this less that)\n" in told


def test_a_question_that_takes_nearly_as_much_as_everything_tells_how_to_label_everything():
    found = answer("share of a", source(number(), flops=4500))
    told = said(found)
    assert "takes hardly more (1.11 times as many FLOPs)" in " ".join(told.split())
    assert "label_k400.py in out/reference --r 0\n" in told
    assert "takes hardly more" not in said(answer("share of a", source(number(), flops=3900)))


def test_what_is_labeled_in_full_is_not_told_how_to_label_everything():
    exact = source(number(seen=50), seen=50, flops=5000)
    assert "Note:" not in said(answer("share of a", exact))
