"""A question is asked in rounds, stops when its interval is narrow, and goes on when killed."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import pipeline
from pipeline.errors import RunError, UsageError
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.pruning_flags import PruningFlags
from pipeline.questions.answer import text
from pipeline.questions.inquiry import Asked
from pipeline.questions.inquiry import answer_question as ask
from pipeline.questions.page import page
from pipeline.questions.question import Question
from tests.embedding_runs import embedding_run
from tests.pipeline.questions.made_archive import LABELS, made_archive
from tests.pipeline.run.test_tables import ok


def asked(tmp_path, question="share of rare", *, within=0.02, proxy=True, source="/in", **more):
    reference = LabelOptions(
        "k400", source, str(tmp_path / "reference"), "demo", pruning=PruningFlags(r=0)
    )
    cheap = dataclasses.replace(
        reference, output=str(tmp_path / "proxy"), pruning=PruningFlags(r=4)
    )
    settings = {"within": within, "alpha": 0.05, "output": str(tmp_path)} | more
    return Asked(Question.parse(question), reference, cheap if proxy else None, **settings)


def share_of(archive, label):
    return float((archive.labels == LABELS.index(label)).mean())


@pytest.mark.parametrize("proxy", [True, False])
def test_the_interval_holds_the_share_and_is_as_narrow_as_asked(tmp_path, monkeypatch, proxy):
    archive = made_archive(monkeypatch)
    answer = ask(asked(tmp_path, proxy=proxy), confidence=0.95)
    (found,) = answer.estimates
    assert found.low <= share_of(archive, "rare") <= found.high
    assert found.half_width <= 0.02
    assert answer.is_met
    last = answer.sources[0].looks[-1]
    assert last.reference < 0.6 * 4000
    assert (last.proxy > 0) == proxy


def test_a_good_proxy_saves_references(tmp_path, monkeypatch):
    made_archive(monkeypatch, agreement=0.99)
    without = ask(asked(tmp_path / "a", proxy=False), confidence=0.95).sources[0].looks[-1]
    with_it = ask(asked(tmp_path / "b"), confidence=0.95).sources[0].looks[-1]
    assert with_it.reference < 0.7 * without.reference


def test_several_labels_and_groups_hold_at_once(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    answer = ask(
        asked(tmp_path, "share of rare, common", by="prefix", within=0.05), confidence=0.95
    )
    found = {(each.label, each.group): each for each in answer.estimates}
    assert set(found) == {(a, b) for a in ("rare", "common") for b in ("", "day", "night")}
    night = np.array([name.startswith("night") for name in archive.names])
    for (label, group), each in found.items():
        rows = night if group == "night" else ~night if group == "day" else np.ones(4000, bool)
        truth = (archive.labels[rows] == LABELS.index(label)).mean()
        assert each.low <= truth <= each.high
        assert each.units == rows.sum()
        assert each.half_width <= 0.05


def test_a_small_group_is_answered_without_a_large_sample_of_the_rest(tmp_path, monkeypatch):
    names = [f"{'small' if n % 20 == 0 else 'large'}/{n:05d}.mp4" for n in range(20_000)]
    archive = made_archive(monkeypatch, units=20_000, names=names)
    answer = ask(asked(tmp_path, by="prefix", proxy=False, within=0.05), confidence=0.95)
    found = {each.group: each for each in answer.estimates}
    small = np.array([name.startswith("small") for name in names])
    for group, rows in {"small": small, "large": ~small, "": small | ~small}.items():
        assert found[group].low <= (archive.labels[rows] == 0).mean() <= found[group].high
        assert found[group].half_width <= 0.05
    # In proportion to its size, the small group would take a sample 20 times its own.
    assert answer.sources[0].looks[-1].reference < 5 * found["small"].seen


def test_further_units_of_a_group_do_not_bend_the_answer_for_all(tmp_path, monkeypatch):
    names = [f"{'small' if n % 20 == 0 else 'large'}/{n:05d}.mp4" for n in range(20_000)]
    archive = made_archive(monkeypatch, units=20_000, names=names)
    archive.labels = np.where(np.char.startswith(names, "small"), 0, 2)
    answer = ask(asked(tmp_path, by="prefix", proxy=False, within=0.05), confidence=0.95)
    found = {each.group: each for each in answer.estimates}
    assert found["small"].value == 1
    assert found[""].low <= 0.05 <= found[""].high
    assert found[""].value < 0.08


def test_what_is_known_of_the_groups_is_known_of_all(tmp_path, monkeypatch):
    names = [f"{'small' if n % 20 == 0 else 'large'}/{n:05d}.mp4" for n in range(2_000)]
    archive = made_archive(monkeypatch, units=2_000, names=names)
    archive.labels = np.where(np.char.startswith(names, "small"), archive.labels, 2)
    answer = ask(asked(tmp_path, by="prefix", proxy=False, within=0.05), confidence=0.95)
    found = {each.group: each for each in answer.estimates}
    groups = [found["small"], found["large"]]
    low, high = (
        sum(getattr(each, end) * each.units for each in groups) / 2_000 for end in ("low", "high")
    )
    assert found[""].low >= low - 1e-12
    assert found[""].high <= high + 1e-12
    share = sum(each.value * each.units for each in groups) / 2_000
    assert found[""].value == pytest.approx(np.clip(share, found[""].low, found[""].high))
    assert found[""].seen == answer.sources[0].looks[-1].reference
    assert found[""].low <= share_of(archive, "rare") <= found[""].high


def test_a_round_tells_the_number_that_keeps_the_question_going(tmp_path, monkeypatch, capsys):
    names = [f"{'small' if n % 20 == 0 else 'large'}/{n:05d}.mp4" for n in range(2_000)]
    made_archive(monkeypatch, units=2_000, names=names)
    ask(asked(tmp_path, by="prefix", proxy=False, within=0.05), confidence=0.95)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("round ")]
    assert "rare, small " in told[0]
    assert "by the proxy" not in told[0]


def test_a_small_archive_is_looked_at_in_full_and_answered_exactly(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=150)
    (found,) = ask(asked(tmp_path), confidence=0.95).estimates
    assert found.low == pytest.approx(found.high) == pytest.approx(share_of(archive, "rare"))


def test_a_count_is_the_share_of_the_population(tmp_path, monkeypatch):
    made_archive(monkeypatch)
    answer = ask(asked(tmp_path, "count of common", within=0.05), confidence=0.95)
    (found,) = answer.estimates
    assert f"{4000 * found.value:,.0f} (" in text(answer)


def test_a_rate_is_per_hour_of_video(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    asked_for = asked(tmp_path, "rate of common per hour", within=20.0, proxy=False)
    answer = ask(asked_for, confidence=0.95)
    truth = (archive.labels == 1).sum() / (4000 * 10 / 3600)
    (found,) = answer.estimates
    assert found.low <= truth <= found.high
    assert found.half_width <= 20


def test_another_input_gives_the_difference(tmp_path, monkeypatch):
    made_archive(monkeypatch)
    one = asked(tmp_path / "one", within=0.06)
    answer = ask(one, confidence=0.95, against=asked(tmp_path / "two", within=0.06))
    (found,) = answer.differences
    assert found.low <= 0 <= found.high
    assert found.half_width <= 0.06
    assert "Difference: rare:" in text(answer)


def test_a_failed_video_counts_as_without_the_label_and_is_told(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=150)
    rare = [name for name, label in zip(archive.names, archive.labels, strict=True) if label == 0]
    archive.failed = frozenset(rare[:2])
    answer = ask(asked(tmp_path), confidence=0.95)
    (found,) = answer.estimates
    assert found.value == pytest.approx((len(rare) - 2) / 150)
    assert "2 of 150 could not be labeled" in " ".join(text(answer).split())


def test_a_killed_question_that_is_asked_again_has_the_same_answer(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    undisturbed = ask(asked(tmp_path / "a"), confidence=0.95)
    calls = []

    def killed_at_the_fourth():
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt

    archive.before_label = killed_at_the_fourth
    with pytest.raises(KeyboardInterrupt):
        ask(asked(tmp_path / "b"), confidence=0.95)
    again = ask(asked(tmp_path / "b"), confidence=0.95)
    one, other = (json.loads(json.dumps(each.to_json())) for each in (undisturbed, again))
    for each in (one, other):
        for source in each["sources"]:
            source.pop("output")
    assert one == other


def test_asking_again_labels_nothing_and_another_question_takes_what_is_there(
    tmp_path, monkeypatch
):
    archive = made_archive(monkeypatch)
    ask(asked(tmp_path), confidence=0.95)
    before = len(archive.labeled)
    ask(asked(tmp_path), confidence=0.95)
    assert len(archive.labeled) == before
    ask(asked(tmp_path, "share of common", within=0.2), confidence=0.95)
    assert len(archive.labeled) == before


def test_the_largest_number_of_references_ends_a_question_that_is_not_answered(
    tmp_path, monkeypatch
):
    made_archive(monkeypatch)
    answer = ask(asked(tmp_path, within=0.001, most=300), confidence=0.95)
    assert not answer.is_met
    assert answer.sources[0].looks[-1].reference <= 350
    assert "--max-reference ended" in " ".join(text(answer).split())


def test_labels_that_people_gave_are_the_reference(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=1000)
    truth = tmp_path / "truth.csv"
    rows = zip(archive.names, archive.labels, strict=True)
    truth.write_text("video_id,label\n" + "".join(f"{n},{LABELS[k]}\n" for n, k in rows))
    answer = ask(asked(tmp_path, truth=truth, within=0.05), confidence=0.95)
    (found,) = answer.estimates
    assert found.low <= share_of(archive, "rare") <= found.high
    assert {name for name, _ in archive.labeled} == {"proxy"}
    assert "opinion" not in text(answer)


def test_videos_that_people_have_not_labeled_yet_are_written_to_a_list(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=1000)
    truth = tmp_path / "truth.csv"
    with pytest.raises(RunError, match="have no label in --truth"):
        ask(asked(tmp_path, truth=truth), confidence=0.95)
    truth.write_text(f"video_id,label\n{archive.names[0]},rare\n{archive.names[1]},\n")
    with pytest.raises(RunError, match="have no label in --truth"):
        ask(asked(tmp_path, truth=truth), confidence=0.95)
    listed = (tmp_path / "to_label.csv").read_text().splitlines()
    assert listed[0] == "video_id,label"
    assert 150 < len(listed) < 250
    # The list itself, filled in, is what is asked for.
    labels = dict(zip(archive.names, archive.labels, strict=True))
    filled = [f"{line}{LABELS[labels[line.rstrip(',')]]}" for line in listed[1:]]
    truth.write_text("\n".join(["video_id,label", *filled]) + "\n")
    answer = ask(asked(tmp_path, truth=truth, within=0.4), confidence=0.95)
    assert len(answer.sources[0].looks) == 1


def test_a_label_that_is_no_class_and_too_many_groups_are_refused(tmp_path, monkeypatch):
    made_archive(monkeypatch)
    with pytest.raises(UsageError, match="is no class of the model"):
        ask(asked(tmp_path / "a", "share of nothing"), confidence=0.95)
    made_archive(monkeypatch, units=100, names=[f"{n}/a.mp4" for n in range(100)])
    with pytest.raises(UsageError, match="more than 50 groups"):
        ask(asked(tmp_path / "b", by="prefix"), confidence=0.95)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"")
    with pytest.raises(UsageError, match="is no list"):
        ask(asked(tmp_path / "c", by="camera", source=str(tmp_path / "videos")), confidence=0.95)


@pytest.mark.parametrize("question", ["share of rare, common", "count of rare"])
def test_the_page_holds_the_answer_and_every_round(tmp_path, monkeypatch, question):
    made_archive(monkeypatch)
    answer = ask(asked(tmp_path, question, within=0.05, by="prefix"), confidence=0.95)
    made = page(answer)
    assert question in made
    assert "The interval after each round" in made
    assert "night" in made
    for look in answer.sources[0].looks:
        assert f"{look.reference:,}" in made


def as_list(archive, tmp_path, speeds=None):
    """The archive as a list with a camera and a speed for each video."""
    path = tmp_path / "list.csv"
    speeds = speeds or [10 + 5 * label for label in archive.labels]
    rows = zip(archive.names, speeds, strict=True)
    lines = [f"{name},{name},{'AB'[n % 2]},{speed}" for n, (name, speed) in enumerate(rows)]
    path.write_text("\n".join(["video_id,uri,camera,speed", *lines]) + "\n")
    return str(path)


def test_a_mean_of_a_column_is_over_the_videos_with_the_label(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch)
    source = as_list(archive, tmp_path)
    given = asked(
        tmp_path, "mean of speed for common", within=0.5, by="camera", proxy=False, source=source
    )
    answer = ask(given, confidence=0.95)
    assert {each.group for each in answer.estimates} == {"", "A", "B"}
    assert all(each.value == pytest.approx(15) for each in answer.estimates)


@pytest.mark.parametrize(
    ("question", "more", "said"),
    [
        ("mean of sped for common", {}, "no column 'sped', which the question names"),
        ("share of common", {"by": "cam"}, "no column 'cam', which --by names"),
        ("mean of camera for common", {}, "'A', which is no number"),
        ("share of common, Common", {}, "names a label twice"),
        ("share of common", {"truth": Path(__file__)}, "test_inquiry.py"),
    ],
)
def test_a_question_that_is_wrong_writes_nothing(tmp_path, monkeypatch, question, more, said):
    archive = made_archive(monkeypatch, units=100)
    source = as_list(archive, tmp_path)
    with pytest.raises(UsageError, match=said):
        ask(asked(tmp_path / "out", question, source=source, **more), confidence=0.95)
    assert not (tmp_path / "out").exists()


def test_an_archive_that_is_labeled_in_full_leaves_nothing_to_ask(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=100, shares=(0.0, 0.5, 0.5))
    source = as_list(archive, tmp_path)
    given = asked(tmp_path, "mean of speed for rare", within=0.5, source=source)
    answer = ask(given, confidence=0.95)
    assert answer.is_met
    assert "not known: nothing with this label was seen" in text(answer)
    assert answer.sources[0].looks[-1].proxy == 0
    exact = ask(asked(tmp_path, "share of common", source=source), confidence=0.95)
    assert "(exact: all were labeled)" in text(exact)


def test_an_answer_is_not_written_into_the_output_of_a_labeling_job(tmp_path):
    embedding_run(tmp_path, [ok("a")], clips=1)
    with pytest.raises(UsageError, match="is the OUTPUT of a labeling job"):
        pipeline.ask("in", "share of rare", output=str(tmp_path), checkpoint="demo")


def test_fewer_references_than_groups_still_answer_for_all(tmp_path, monkeypatch):
    names = [f"{n % 40}/{n:05d}.mp4" for n in range(4000)]
    made_archive(monkeypatch, names=names)
    settings = {"by": "prefix", "proxy": False, "most": 20}
    answer = ask(asked(tmp_path, **settings), confidence=0.95)
    every, *groups = answer.estimates
    assert 5 < every.seen < 45
    assert len(groups) == 40
    assert not answer.is_met
    assert "not known" in text(answer)


def test_labels_of_videos_do_not_go_with_segments(tmp_path, monkeypatch):
    made_archive(monkeypatch)
    question = asked(tmp_path, truth=tmp_path / "truth.csv", proxy=False)
    dense = dataclasses.replace(question.reference, every_s=2.0)
    with pytest.raises(UsageError, match="--clip-every"):
        ask(dataclasses.replace(question, reference=dense), confidence=0.95)
    assert not (tmp_path / "reference").exists()
