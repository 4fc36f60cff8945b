"""The page shows what was asked, and each number with what it rests on."""

import re

from pipeline.questions.page import page
from tests.pipeline.questions.made_answers import answer, number, source


def words(found):
    """The page without its elements."""
    return " ".join(re.sub(r"<[^>]*>", " ", page(found)).split())


def test_a_tile_of_an_exact_number_has_no_confidence():
    exact = source(number(seen=50), seen=50)
    told = words(answer("share of a", exact))
    assert "(exact: all were labeled)" in told
    assert "confidence" not in told
    assert "(15.0 to 35.0), 95 % confidence" in words(answer("share of a", source(number())))


def test_a_rate_is_per_hour_and_a_mean_has_the_name_of_its_column():
    numbers = source(number(value=12, half=2))
    assert "12 per hour rate of a (10 to 14)" in words(answer("rate of a per hour", numbers))
    assert "12 mean of speed for a (10 to 14)" in words(answer("mean of speed for a", numbers))


def test_the_page_tells_within_by_and_between():
    numbers = number(group="east"), number(group="west")
    told = words(
        answer(
            *("share of a", source(*numbers)),
            differences=[number(group="east less west")],
            by="camera",
            between=("east", "west"),
        )
    )
    assert "--within 20 points --by camera --between east and west" in told


def test_all_numbers_of_one_input_tell_what_was_looked_at_beside_the_estimate():
    numbers = (number(), number(group="east", seen=12, units=12))
    told = words(answer("share of a", source(*numbers)))
    assert "label group looked at estimate a all 40 of 50 25.0 % (15.0 to 35.0)" in told
    assert "a east 12 of 12 25.0 % (exact: all were labeled)" in told


def test_all_numbers_of_two_inputs_tell_which_is_subtracted_and_what_a_side_lacks():
    sides = (
        source(number(), number(group="east", seen=12, units=12), name="this"),
        source(number(), name="that"),
    )
    told = words(answer("share of a", *sides, differences=[number(value=0.02)]))
    assert "label group looked at this that difference: this less that" in told
    assert "a all 40 of 50 and 40 of 50" in told
    assert "a east 12 of 12 and none" in told


def test_cells_of_all_numbers_wrap_and_headings_are_short():
    names = "s3://bucket/" + "x" * 60, "s3://bucket/" + "y" * 60
    sides = [source(number(), name=name) for name in names]
    made = page(answer("share of a", *sides, differences=[number(value=0.02)]))
    table = made[made.index("All numbers") :]
    assert 'class="number"' not in table
    headings = re.findall(r"<th>([^<]*)</th>", table)
    assert all(len(each) <= 24 for each in headings[:-1])


def test_a_question_without_a_proxy_has_no_word_of_its_units():
    numbers = source(number())
    assert "by the proxy" not in words(answer("share of a", numbers))
    assert "round reference FLOPs" in words(answer("share of a", numbers))
    with_one = source(number(), proxy="r = 64, 1x1 views")
    assert "round reference proxy FLOPs" in words(answer("share of a", with_one))


def test_a_page_tells_how_to_label_everything_where_that_takes_hardly_more():
    told = words(answer("share of a", source(number(), flops=4500)))
    assert "labeling everything takes hardly more (1.11 times as many FLOPs)" in told
    assert "label_k400.py in out/reference --r 0" in told
    assert "labeling all videos: 1.11 times as many" in told


def test_the_rounds_name_the_number_they_are_about_where_there_are_several():
    numbers = number(group="east"), number(group="west")
    assert "a, east: estimate and interval" in words(answer("share of a", source(*numbers)))
    assert "FLOPs estimate and interval" in words(answer("share of a", source(number())))
