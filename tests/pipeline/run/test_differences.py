"""What differs between two configurations is said field by field."""

from pipeline.run.differences import differences, differing_fields, shown

PLACES = ("in the run", "now")
PRUNING = {"r": 22, "direction": "FBF", "temperature": 1.0}


def test_equal_configurations_differ_in_nothing():
    assert differences({"a": {"b": [1]}, "c": None}, {"a": {"b": [1]}}, places=PLACES) == []


def test_every_field_that_differs_is_one_entry_nested_ones_by_dots():
    there = {"pruning": PRUNING, "limit": None, "decoder": "pyav"}
    here = {"pruning": PRUNING | {"r": 8, "direction": "FFF"}, "limit": 5, "decoder": "pyav"}
    assert differences(there, here, places=PLACES) == [
        "limit: not set in the run, 5 now",
        "pruning.direction: FBF in the run, FFF now",
        "pruning.r: 22 in the run, 8 now",
    ]


def test_fields_that_follow_from_another_are_counted():
    found = differences({"pruning": PRUNING}, {"pruning": {"r": 0}}, places=PLACES)
    assert found == ["pruning.r: 22 in the run, 0 now", "2 more fields of pruning only in the run"]
    found = differences({"pruning": {"r": 0}}, {"pruning": PRUNING}, places=PLACES)
    assert found == ["pruning.r: 0 in the run, 22 now", "2 more fields of pruning only now"]


def test_a_field_of_one_side_alone_is_not_set_on_the_other():
    found = differences({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, places=PLACES)
    assert found == ["a.c: not set in the run, 2 now"]
    found = differences({}, {"early_exit": {"threshold": 0.5, "max_views": None}}, places=PLACES)
    assert found == ["early_exit: not set in the run, threshold 0.5, max_views not set now"]


def test_deep_fields_are_named_by_their_whole_path():
    found = differences({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, places=PLACES)
    assert found == ["a.b.c: 1 in the run, 2 now"]


def test_long_values_are_cut_and_say_how_long_they_are():
    labels = [f"class {number}" for number in range(400)]
    (found,) = differences({"labels": labels}, {"labels": labels[1:]}, places=PLACES)
    assert len(found) < 250
    assert "class 0, class 1" in found
    assert "characters)" in found


def test_a_path_is_told_whole_and_a_longer_text_by_its_two_ends():
    path = "/archive" * 25 + "/m.csv"
    assert shown(path) == path
    long = "/archive" * 50 + "/m.csv"
    assert len(shown(long)) < 250
    assert shown(long).endswith("/archive/m.csv")


def test_no_value_is_shown_as_python_writes_it():
    for value in ({"a": 1, "b": {"c": None}}, [1, "x"], (1,), "text"):
        assert not set("{}[]()'\"") & set(shown(value))


def test_of_several_values_only_the_fields_that_differ_are_told():
    one, two = {"name": "k400", "size": 112}, {"name": "k400", "size": 224}
    assert differing_fields([one, two]) == ["size 112", "size 224"]
    assert differing_fields([one, None]) == ["name k400, size 112", "not set"]
