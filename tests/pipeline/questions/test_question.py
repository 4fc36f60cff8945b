"""A question is read as it is written, and a text that is none lists the forms."""

import pytest

from pipeline.errors import UsageError
from pipeline.questions.question import FORMS, Question


@pytest.mark.parametrize(
    ("text", "kind", "labels", "column"),
    [
        ("share of falling", "share", ("falling",), None),
        ("  Share  OF   playing chess ", "share", ("playing chess",), None),
        ("share of a, b b,c", "share", ("a", "b b", "c"), None),
        ('share of "a, b", c', "share", ("a, b", "c"), None),
        ("count of falling", "count", ("falling",), None),
        ("rate of falling per hour", "rate", ("falling",), None),
        (
            "rate of falling, jumping per hour per hour",
            "rate",
            ("falling", "jumping per hour"),
            None,
        ),
        ("mean of temperature for falling", "mean", ("falling",), "temperature"),
        ('mean of "air temperature" for a, b', "mean", ("a", "b"), "air temperature"),
        ("videos with falling", "videos", ("falling",), None),
        ("share of share of cake", "share", ("share of cake",), None),
    ],
)
def test_questions_are_read(text, kind, labels, column):
    found = Question.parse(text)
    assert (found.kind, found.labels, found.column) == (kind, labels, column)


@pytest.mark.parametrize("kind", FORMS)
def test_every_form_has_a_text_that_reads_back(kind):
    asked = Question(kind, ("a, b",), "column" if kind == "mean" else None)
    assert Question.parse(asked.text) == asked


@pytest.mark.parametrize(
    "text", ["", "falling", "share falling", "share of", "rate of falling", "mean of falling"]
)
def test_a_text_that_is_no_question_lists_the_forms(text):
    with pytest.raises(UsageError, match="is no question; the forms are: share of LABEL"):
        Question.parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("share of a, a", "twice"),
        ("share of a,, b", "names no label"),
        ("videos with a, b", "one label"),
        ("share of " + ", ".join(map(str, range(101))), "at most 100"),
    ],
)
def test_labels_that_cannot_be_asked_for_are_refused(text, said):
    with pytest.raises(UsageError, match=said):
        Question.parse(text)


def test_labels_are_classes_of_the_model_whatever_their_case():
    asked = Question.parse("share of Ball Falls, box rises")
    assert asked.among(["box rises", "ball falls", "Ball falls"]) == (1, 0)


def test_a_label_that_is_no_class_is_told_with_the_nearest():
    with pytest.raises(UsageError, match="'ball fals' is no class .* such as ball falls"):
        Question.parse("share of ball fals").among(["box rises", "ball falls"])
