"""Labels that people gave count from both lists, and none of them is lost or silently wrong."""

import csv
import dataclasses

import pytest

from pipeline.errors import RunError, UsageError
from pipeline.inputs.list_options import ListOptions
from pipeline.questions.inquiry import answer_question
from tests.pipeline.questions.made_archive import LABELS, made_archive
from tests.pipeline.questions.test_inquiry import as_list, asked

ONE_ROUND = 0.4
HEADER = "video_id,label\n"


def ask(tmp_path, truth, question="share of rare", **more):
    given = {"within": ONE_ROUND, "truth": truth} | more
    return answer_question(asked(tmp_path, question, **given), confidence=0.95)


def unanswered(tmp_path, truth, **more):
    """The rows of to_label.csv, and the error."""
    with pytest.raises(RunError, match="have no label in --truth") as error:
        ask(tmp_path, truth, **more)
    with open(tmp_path / "to_label.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["video_id", "label"]
    return rows, error.value


def fill(tmp_path, archive, rows, *, count=None, name="to_label.csv"):
    """Writes the rows, the first `count` of them with labels."""
    labels = dict(zip(archive.names, archive.labels, strict=True))
    filled = [
        f"{video},{LABELS[labels[video]] if count is None or place < count else ''}\n"
        for place, (video, _) in enumerate(rows)
    ]
    (tmp_path / name).write_text(HEADER + "".join(filled))


@pytest.mark.parametrize("name", ["to_label.csv", "truth.csv"])
def test_the_list_of_videos_to_label_is_filled_in_and_asked_again(tmp_path, monkeypatch, name):
    archive = made_archive(monkeypatch, units=1000)
    rows, _ = unanswered(tmp_path, tmp_path / name)
    fill(tmp_path, archive, rows)
    answer = ask(tmp_path, tmp_path / name)
    assert len(answer.sources[0].looks) == 1
    assert answer.sources[0].reference == f"labels that people gave, in {tmp_path}/to_label.csv"
    assert not (tmp_path / "truth.csv").exists()


@pytest.mark.parametrize("name", ["to_label.csv", "truth.csv"])
def test_labels_stay_in_front_of_the_videos_that_lack_one(tmp_path, monkeypatch, name):
    archive = made_archive(monkeypatch, units=1000)
    rows, _ = unanswered(tmp_path, tmp_path / name)
    fill(tmp_path, archive, [*reversed(rows)], count=30)
    before = (tmp_path / "to_label.csv").read_text().splitlines()[1:31]
    again, _ = unanswered(tmp_path, tmp_path / name)
    assert [",".join(row) for row in again[:30]] == before
    assert again[30:] == rows[:-30]
    # A further round adds to the first one's labels.
    fill(tmp_path, archive, again)
    more, _ = unanswered(tmp_path, tmp_path / name, within=0.03)
    assert [video for video, label in more if label] == [video for video, _ in again]
    assert not any(label for _, label in more[len(again) :])
    assert len(more) > len(again)


def test_labels_of_both_lists_count_and_the_named_one_is_not_written(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=1000)
    truth = tmp_path / "truth.csv"
    rows, _ = unanswered(tmp_path, truth)
    fill(tmp_path, archive, rows[:60], name="truth.csv")
    written = truth.read_bytes()
    left, _ = unanswered(tmp_path, truth)
    assert left == rows[60:]
    # One video in both, with the same label.
    fill(tmp_path, archive, rows[59:])
    answer = ask(tmp_path, truth)
    both = f"labels that people gave, in {truth} and {tmp_path}/to_label.csv"
    assert answer.sources[0].reference == both
    assert truth.read_bytes() == written


def test_two_different_labels_of_a_video_are_refused(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=100)
    video, truth = archive.names[0], tmp_path / "truth.csv"
    truth.write_text(f"{HEADER}{video},rare\n{video},Rare\n{video},common\n")
    with pytest.raises(UsageError, match=rf"{video} has two labels: 'rare' in .* and 'common' in"):
        ask(tmp_path, truth)
    truth.write_text(f"{HEADER}{video},rare\n")
    (tmp_path / "to_label.csv").write_text(f"{HEADER}{video},none of these\n")
    said = rf"{video} has two labels: 'rare' in {truth} and 'none of these' in .*to_label.csv"
    with pytest.raises(UsageError, match=said):
        ask(tmp_path, truth)


def test_labels_that_are_no_class_are_told_once_and_the_misspelled_first(
    tmp_path, monkeypatch, capsys
):
    archive = made_archive(monkeypatch, units=100)
    given = ["cat"] * 5 + ["dog"] * 4 + ["rara"] * 2 + ["cow"] + ["Common"] * 88
    rows = zip(archive.names, given, strict=True)
    truth = tmp_path / "truth.csv"
    truth.write_text(HEADER + "".join(f"{name},{label}\n" for name, label in rows))
    (found,) = ask(tmp_path, truth).estimates
    assert found.value == 0
    said = capsys.readouterr().err
    line = (
        "12 labels that people gave are no class of the model, and count as without the label "
        "that is asked for: 'rara' (2; did you mean 'rare'?), 'cat' (5), 'dog' (4), and 1 other"
    )
    assert said.count(line) == said.count("no class of the model") == 1
    (found,) = ask(tmp_path, truth, "share of common").estimates
    assert found.value == pytest.approx(0.88)


def test_a_list_that_is_not_there_is_named(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=1000)
    _, error = unanswered(tmp_path, tmp_path / "truth.csv")
    assert str(error).endswith("truth.csv: there is no such file")
    assert "to_label.csv" in error.advice
    fill(tmp_path, archive, [(name, "") for name in archive.names[:2]], count=0, name="truth.csv")
    _, error = unanswered(tmp_path, tmp_path / "truth.csv")
    assert str(error).endswith("truth.csv")


def test_a_list_without_a_column_of_labels_is_refused_with_its_columns(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=100)
    truth = tmp_path / "truth.csv"
    truth.write_text(f"video_id,seen,note\n{archive.names[0]},rare,\n")
    said = r"has no column of labels.*--label-column; not read are 'seen', 'note'"
    with pytest.raises(UsageError, match=said):
        ask(tmp_path / "out", truth)
    truth.write_text(f"video_id\n{archive.names[0]}\n")
    with pytest.raises(UsageError, match="it has no other column"):
        ask(tmp_path / "out", truth)
    assert not (tmp_path / "out").exists()


def test_a_list_of_other_videos_is_told_with_ids_and_columns(tmp_path, monkeypatch, capsys):
    made_archive(monkeypatch, units=100)
    truth = tmp_path / "truth.csv"
    truth.write_text("video_id,label,clip\nx1,rare,a\nx2,rare,b\n")
    _, error = unanswered(tmp_path, truth)
    assert "none of its 2 rows with a label is of a video of this round" in str(error)
    assert "such as x1, those of this round such as " in str(error)
    assert str(error).endswith(
        "(--id-column and --uri-column name its columns; not read is 'clip')"
    )
    line = "2 of the 2 videos that people labeled are not in /in, such as x1"
    assert capsys.readouterr().err.count(line) == 1


def test_videos_that_are_not_in_the_input_are_counted_and_otherwise_ignored(
    tmp_path, monkeypatch, capsys
):
    archive = made_archive(monkeypatch, units=100)
    fill(tmp_path, archive, [(name, "") for name in archive.names], name="truth.csv")
    with open(tmp_path / "truth.csv", "a") as file:
        file.write("elsewhere.mp4,what\n")
    (found,) = ask(tmp_path, tmp_path / "truth.csv").estimates
    assert found.value == pytest.approx((archive.labels == 0).mean())
    said = capsys.readouterr().err
    assert "1 of the 101 videos that people labeled is not in /in, such as elsewhere.mp4" in said
    assert "no class" not in said


def test_flags_of_the_lists_are_not_those_of_the_list_to_label(tmp_path, monkeypatch):
    archive = made_archive(monkeypatch, units=100)
    source = as_list(archive, tmp_path)
    given = asked(tmp_path, within=ONE_ROUND, truth=tmp_path / "to_label.csv", source=source)
    lists = ListOptions(label_column="camera", skip_bad_lines=True)
    reference = dataclasses.replace(given.reference, lists=lists)
    given = dataclasses.replace(given, reference=reference)
    with pytest.raises(RunError, match="have no label in --truth"):
        answer_question(given, confidence=0.95)
    fill(tmp_path, archive, [(name, "") for name in archive.names])
    answer_question(given, confidence=0.95)
    with open(tmp_path / "to_label.csv", "a") as file:
        file.write(",rare\n")
    with pytest.raises(UsageError, match="the columns of to_label.csv are video_id and label"):
        answer_question(given, confidence=0.95)


def test_a_label_that_people_gave_is_asked_for_by_a_class_of_the_model(tmp_path, monkeypatch):
    made_archive(monkeypatch)
    with pytest.raises(UsageError, match=r"is no class of the model.*; also with --truth"):
        ask(tmp_path, tmp_path / "truth.csv", "share of nothing")
