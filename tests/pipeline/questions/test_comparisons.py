"""A difference of two inputs, or of two groups, has one interval."""

import dataclasses
import json

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.questions import series
from pipeline.questions.answer import text
from pipeline.questions.flags import AskFlags
from pipeline.questions.inquiry import answer_question as ask
from pipeline.questions.page import page
from tests.pipeline.questions.made_archive import LABELS, made_archive
from tests.pipeline.questions.test_inquiry import asked


def two_archives(monkeypatch, one, other):
    """Two inputs, /one and /other, of the settings of `made_archive`."""
    made = {
        f"/{name}": made_archive(monkeypatch, **settings)
        for name, settings in (("one", one), ("other", other))
    }

    def plan(options):
        return made[options.source].plan(options)

    def begin(plan, options, **more):
        return made[options.source].begin(plan, options, **more)

    def label(plan, options, **more):
        return made[options.source].label(plan, options, **more)

    for name, function in {"plan_labeling": plan, "begin_run": begin, "label": label}.items():
        monkeypatch.setattr(series, name, function)
    return made["/one"], made["/other"]


def compared(tmp_path, question="share of common", **settings):
    one = asked(tmp_path, question, source="/one", **settings)
    other = asked(tmp_path / "against", question, source="/other", **settings)
    return ask(one, confidence=0.95, against=other)


def share(archive, label="common", group=""):
    rows = np.array([name.startswith(group) for name in archive.names])
    return float((archive.labels[rows] == LABELS.index(label)).mean())


@pytest.mark.parametrize("proxy", [True, False])
def test_the_difference_of_two_inputs_is_held_and_as_narrow_as_asked(tmp_path, monkeypatch, proxy):
    archives = two_archives(
        monkeypatch, {"units": 6000}, {"units": 6000, "shares": (0.05, 0.2, 0.75), "seed": 1}
    )
    answer = compared(tmp_path, within=0.05, proxy=proxy)
    (found,) = answer.differences
    truths = [share(each) for each in archives]
    assert found.low <= truths[0] - truths[1] <= found.high
    assert found.half_width <= 0.05
    assert answer.is_met
    for source, truth in zip(answer.sources, truths, strict=True):
        (own,) = source.looks[-1].estimates
        assert own.low <= truth <= own.high
        # Two intervals that are subtracted would be wider than asked.
        assert own.half_width > 0.025
    assert "Difference: common:" in text(answer)
    assert "points (" in text(answer)


def test_the_larger_part_of_the_labels_goes_to_the_side_that_varies_more(tmp_path, monkeypatch):
    two_archives(
        monkeypatch,
        {"units": 20_000, "shares": (0.05, 0.45, 0.5)},
        {"units": 20_000, "shares": (0.05, 0.01, 0.94), "seed": 1},
    )
    answer = compared(tmp_path, within=0.04, proxy=False)
    one, other = (source.looks[-1].reference for source in answer.sources)
    assert other < 0.7 * one


def test_each_label_and_each_group_that_both_inputs_have_is_compared(tmp_path, monkeypatch):
    archives = two_archives(
        monkeypatch,
        {"units": 3000},
        {"units": 3000, "names": [f"{'day' if n % 2 else 'rain'}/{n}" for n in range(3000)]},
    )
    answer = compared(tmp_path, "share of rare, common", within=0.1, by="prefix")
    found = {(each.label, each.group): each for each in answer.differences}
    assert set(found) == {(a, b) for a in ("rare", "common") for b in ("", "day")}
    for (label, group), each in found.items():
        one, other = (share(archive, label, group) for archive in archives)
        assert each.low <= one - other <= each.high
        assert each.half_width <= 0.1
    groups = [{each.group for each in source.looks[-1].estimates} for source in answer.sources]
    assert groups == [{"", "day", "night"}, {"", "day", "rain"}]
    made = page(answer)
    assert "rain" in made
    assert "night" in made
    assert "points (" in made
    assert (
        json.loads(json.dumps(answer.to_json()))["compared"][-1]["differences"][0]["label"]
        == "rare"
    )
    assert "The difference after each round" in made


def test_two_inputs_with_the_same_names_have_samples_that_are_independent(tmp_path, monkeypatch):
    archives = two_archives(monkeypatch, {"units": 4000}, {"units": 4000})
    assert archives[0].names == archives[1].names
    seen = []
    for archive in archives:
        names: set[str] = set()
        monkeypatch.setattr(archive, "label", recording(archive, names))
        seen.append(names)
    compared(tmp_path, within=0.3, proxy=False)
    sizes = [len(each) for each in seen]
    assert min(sizes) > 150
    assert len(seen[0] & seen[1]) < 0.3 * min(sizes)


def recording(archive, names):
    label = archive.label

    def recorded(plan, options, *, sample):
        record = label(plan, options, sample=sample)
        import pyarrow.parquet as pq

        names.update(pq.read_table(plan.run.units.uri)["video_id"].to_pylist())
        return record

    return recorded


def test_a_small_input_is_labeled_in_full_and_the_other_goes_on(tmp_path, monkeypatch):
    archives = two_archives(monkeypatch, {"units": 6000}, {"units": 150, "seed": 1})
    answer = compared(tmp_path, within=0.04, proxy=False)
    (found,) = answer.differences
    assert answer.sources[1].looks[-1].reference == 150
    assert found.low <= share(archives[0]) - share(archives[1]) <= found.high
    assert found.half_width <= 0.04
    assert 400 < answer.sources[0].looks[-1].reference < 3000


def test_two_inputs_that_are_labeled_in_full_give_the_exact_difference(tmp_path, monkeypatch):
    archives = two_archives(monkeypatch, {"units": 150}, {"units": 100, "seed": 1})
    answer = compared(tmp_path, within=0.01)
    (found,) = answer.differences
    assert found.value == pytest.approx(share(archives[0]) - share(archives[1]))
    assert "points (exact: all were labeled)" in text(answer)


def test_the_difference_of_rates_is_one_interval(tmp_path, monkeypatch):
    archives = two_archives(
        monkeypatch, {"units": 6000}, {"units": 6000, "shares": (0.05, 0.2, 0.75), "seed": 1}
    )
    answer = compared(tmp_path, "rate of common per hour", within=25.0, proxy=False)
    (found,) = answer.differences
    one, other = (360 * share(each) for each in archives)
    assert found.low <= one - other <= found.high
    assert found.half_width <= 25
    assert sum(source.looks[-1].reference for source in answer.sources) < 9_000


def test_the_largest_number_of_references_of_one_side_ends_a_difference(tmp_path, monkeypatch):
    two_archives(monkeypatch, {"units": 6000}, {"units": 6000, "seed": 1})
    answer = compared(tmp_path, within=0.005, most=300)
    assert not answer.is_met
    assert all(source.looks[-1].reference <= 350 for source in answer.sources)


def test_a_killed_difference_that_is_asked_again_has_the_same_answer(tmp_path, monkeypatch):
    one, _ = two_archives(monkeypatch, {"units": 4000}, {"units": 4000, "seed": 1})
    undisturbed = compared(tmp_path / "a", within=0.06)
    calls = []

    def killed_at_the_third():
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    one.before_label = killed_at_the_third
    with pytest.raises(KeyboardInterrupt):
        compared(tmp_path / "b", within=0.06)
    assert compared(tmp_path / "b", within=0.06).differences == undisturbed.differences


def between(tmp_path, groups=("day", "night"), **settings):
    given = asked(tmp_path, "share of rare, common", by="prefix", within=0.08, **settings)
    return ask(dataclasses.replace(given, between=groups), confidence=0.95)


def test_two_groups_of_one_input_are_compared_and_no_other_is_labeled(tmp_path, monkeypatch):
    names = [f"{('day', 'night', 'dusk', 'dawn')[n % 4]}/{n}" for n in range(6000)]
    archive = made_archive(monkeypatch, units=6000, names=names)
    seen: set[str] = set()
    monkeypatch.setattr(series, "label", recording(archive, seen))
    answer = between(tmp_path, ("night", "day"), proxy=False)
    assert {name.split("/")[0] for name in seen} == {"day", "night"}
    assert {(each.label, each.group) for each in answer.estimates} == {
        (label, group) for label in ("rare", "common") for group in ("day", "night")
    }
    for each in answer.differences:
        truth = share(archive, each.label, "night") - share(archive, each.label, "day")
        assert each.group == "night less day"
        assert each.low <= truth <= each.high
        assert each.half_width <= 0.08
    assert "Difference: rare, night less day:" in text(answer)
    made = page(answer)
    assert "night less day" in made
    assert "rare, night" in made


def test_two_groups_with_a_proxy_are_compared(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=8000, agreement=0.98)
    answer = between(tmp_path)
    for each in answer.differences:
        truth = share(archive, each.label, "day") - share(archive, each.label, "night")
        assert each.low <= truth <= each.high
    assert answer.sources[0].looks[-1].proxy > answer.sources[0].looks[-1].reference


def test_a_group_that_is_not_there_is_refused_with_those_that_are(tmp_path, monkeypatch):
    made_archive(monkeypatch, units=300)
    with pytest.raises(UsageError, match="'dusk', which is no group of --by; there are day, night"):
        between(tmp_path, ("day", "dusk"))


def listed(archive, tmp_path, dates):
    path = tmp_path / "list.csv"
    rows = zip(archive.names, dates, strict=True)
    path.write_text("video_id,uri,date\n" + "".join(f"{n},{n},{date}\n" for n, date in rows))
    return str(path)


def test_two_months_of_a_list_are_compared(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=3000)
    dates = [f"2024-{1 + n % 6:02d}-{1 + n % 28:02d}T10:00:00Z" for n in range(3000)]
    source = listed(archive, tmp_path, dates)
    given = asked(tmp_path, "share of common", by="date:month", within=0.2, source=source)
    answer = ask(dataclasses.replace(given, between=("2024-02", "2024-05")), confidence=0.95)
    (found,) = answer.differences
    assert found.group == "2024-02 less 2024-05"
    assert found.units == 1000
    months = np.array([date[:7] for date in dates])
    one, other = ((archive.labels[months == month] == 1).mean() for month in ("2024-02", "2024-05"))
    assert found.low <= one - other <= found.high


def test_each_year_of_a_list_is_a_group(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=150)
    source = listed(
        archive, tmp_path, [("2023-12-31", "2024-01-01", "")[n % 3] for n in range(150)]
    )
    answer = ask(asked(tmp_path, "share of common", by="date:year", source=source), confidence=0.95)
    assert [each.group for each in answer.estimates] == ["", "(none)", "2023", "2024"]


def test_a_column_that_has_no_dates_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=10)
    source = listed(archive, tmp_path, ["2024-01-01"] * 9 + ["last May"])
    with pytest.raises(UsageError, match="column 'date' has 'last May', which is no ISO 8601"):
        ask(asked(tmp_path / "out", by="date:day", source=source), confidence=0.95)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"between": ("a", "b")}, "--between names two groups of --by"),
        ({"between": ("a", "a"), "by": "camera"}, "names the group 'a' twice"),
        ({"between": ("a", "b"), "by": "camera", "against": "other"}, "two differences"),
    ],
)
def test_flags_that_compare_nothing_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        AskFlags(**settings)
