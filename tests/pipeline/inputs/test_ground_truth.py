"""True labels: ids are ids, names are names, and what is neither is never scored."""

import pytest

from pipeline.inputs.ground_truth import ClassNames, GroundTruth

NAMES = ("Apply Eye Makeup", "archery", "Billiards", "pull ups")


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("archery", "archery"),
        ("Archery", "archery"),
        ("ApplyEyeMakeup", "Apply Eye Makeup"),
        ("apply_eye_makeup", "Apply Eye Makeup"),
        ("pull  ups", "pull ups"),
        ("[pull] ups", "pull ups"),
        ("0", "Apply Eye Makeup"),
        ("3", "pull ups"),
        ("3.0", "pull ups"),
        ("003", "pull ups"),
        ("4", None),
        ("-1", None),
        ("1.5", None),
        ("rowing", None),
        ("", None),
    ],
)
def test_a_label_is_a_name_or_an_id(label, name):
    assert ClassNames(NAMES).find(label) == name


def test_a_name_as_it_stands_comes_before_one_that_is_written_otherwise():
    names = ClassNames(("Jump", "jump", "run"))
    assert (names.find("Jump"), names.find("jump"), names.find("JUMP")) == ("Jump", "jump", None)


def test_numbers_are_names_where_classes_are_named_by_numbers():
    names = ClassNames(("10", "20", "0"))
    assert [names.find(label) for label in ("0", "10", "20.0", "1", "2")] == [
        "0",
        "10",
        "20",
        None,
        None,
    ]
    assert ClassNames(("fire", "911")).find("0") is None


def test_of_a_model_without_names_the_ids_are_the_names():
    names = ClassNames([str(number) for number in range(12)])
    assert [names.find(label) for label in ("0", "11", "7.0", "12")] == ["0", "11", "7", None]


def labels(*given, classes=NAMES):
    found = GroundTruth(classes)
    for label in given:
        found.add(label)
    return found


def test_labels_are_counted_and_those_that_are_none_are_named():
    found = labels("archery", None, "rowing", "2", "rowing", "diving")
    assert (found.given, found.known) == (5, 2)
    assert found.problem() == (
        "3 of 5 labels are not among the model's classes, such as 'rowing', 'diving'"
    )
    assert [found.named(each) for each in ("ARCHERY", "2", "rowing", None)] == [
        "archery",
        "Billiards",
        "rowing",
        None,
    ]


def test_nothing_is_said_where_every_label_is_a_class():
    assert labels("archery", "0").problem() is None
    assert labels().problem() is None


def test_ids_beyond_the_models_make_all_ids_untrusted():
    """A list that counts from 1 would be wrong on every video, and look like a bad model."""
    found = labels("1", "2", "3", "4", "archery")
    assert (found.given, found.known) == (5, 1)
    assert found.named("1") == "1"
    assert found.named("archery") == "archery"
    assert "the ids go up to 4 and the model's from 0 to 3" in found.problem()


def test_an_id_below_zero_stands_for_no_label_and_leaves_the_others_trusted():
    found = labels("-1", "1")
    assert (found.known, found.named("1"), found.named("-1")) == (1, "archery", "-1")


def test_none_known_is_said():
    assert labels("x", "y").problem() == (
        "none of the 2 labels is one of the model's classes, such as 'x', 'y'"
    )
