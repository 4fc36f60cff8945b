"""Lists of `path label` as VideoMAE, mmaction2 and PySlowFast write them, with any delimiter."""

import itertools
import json

import pandas as pd
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.input_check import checked_input
from pipeline.inputs.list_options import ListOptions, delimiter_of
from pipeline.inputs.listing import Listing

CLASSES = ["abseiling", "air drumming", "answering questions"]
VIDEOS = [("train/a.mp4", 1), ("/data/k400/b c.webm", 0), ("s3://bucket/d.mkv", 2)]


def found(path, **options):
    return list(Listing(str(path), lists=ListOptions(**options)).videos())


def pairs(path, **options):
    """(id, label) of each video: without a video_id, the uri as it stands is the id."""
    return [(video.video_id, video.ground_truth) for video in found(path, **options)]


@pytest.mark.parametrize("delimiter", [" ", "  ", ",", ", ", "\t", ";"])
@pytest.mark.parametrize("name", ["k400_val.txt", "train.csv", "val.list", "annotations"])
@pytest.mark.parametrize("labels", ["ids", "names"])
def test_path_and_label_are_read_by_the_delimiter_that_every_line_fits(
    tmp_path, delimiter, name, labels
):
    rows = [(uri, str(label) if labels == "ids" else CLASSES[label]) for uri, label in VIDEOS]
    (tmp_path / name).write_text("\n".join(delimiter.join(row) for row in rows) + "\n")
    assert pairs(tmp_path / name) == rows
    given = delimiter.strip(" ") or "space"
    assert pairs(tmp_path / name, delimiter=delimiter_of(given)) == rows
    checked = checked_input(Listing(str(tmp_path / name)), CLASSES).labels
    assert (checked.given, checked.known) == (3, 3)
    assert [checked.named(label) for _, label in rows] == [CLASSES[label] for _, label in VIDEOS]


@pytest.mark.parametrize("delimiter", ["|", ":", "^", "~"])
@pytest.mark.parametrize("header", [None, "uri,label", "clip,what"])
def test_any_other_delimiter_is_given(tmp_path, delimiter, header):
    rows = [("a.mp4", "1"), ("b c.mp4", "0")]
    lines = [delimiter.join(row) for row in rows]
    if header:
        lines.insert(0, header.replace(",", delimiter))
    (tmp_path / "list.txt").write_text("\n".join(lines))
    names = {"uri_column": "clip", "label_column": "what"} if header == "clip,what" else {}
    assert pairs(tmp_path / "list.txt", delimiter=delimiter, **names) == rows
    with pytest.raises(UsageError, match="line"):
        found(tmp_path / "list.txt", **names)


def test_a_delimiter_is_one_character_or_has_a_name():
    names = ("tab", "TAB", "\\t", "space", "comma", "semicolon", "pipe", "|", ",", "\t")
    assert "".join(map(delimiter_of, names)) == "\t\t\t ,;||,\t"
    for text in ("", "ab", "a", "7", '"', "\n", ", "):
        with pytest.raises(ValueError, match="a delimiter is one character"):
            delimiter_of(text)


def test_as_pandas_reads_and_writes_them_for_videomae_and_pyslowfast(tmp_path):
    """Both read with `header=None` and a delimiter of one character."""
    frame = pd.DataFrame([(f"videos/v {n}.mp4", n % 3) for n in range(500)])
    for delimiter in (" ", ","):
        frame.to_csv(tmp_path / "val.csv", sep=delimiter, header=False, index=False)
        assert pairs(tmp_path / "val.csv") == [(uri, str(label)) for uri, label in frame.values]


def test_pyslowfasts_paths_alone_have_no_label(tmp_path):
    (tmp_path / "test.csv").write_text("a.mp4\nsub/b c.mp4\n")
    assert pairs(tmp_path / "test.csv") == [("a.mp4", None), ("sub/b c.mp4", None)]


SEVERAL = {
    " ": ["v.mp4 1 2", "v.mp4 1 2 3", 'v.mp4 "1,2"', "v.mp4 1,2", "v.mp4 163 4", "v.mp4 0 -1"],
    ",": ["v.mp4,1,2", 'v.mp4,"1,2"', "v.mp4,1 2"],
    "\t": ["v.mp4\t1\t2", "v.mp4\t1 2"],
    ";": ["v.mp4;1;2", "v.mp4;1,2"],
}


@pytest.mark.parametrize(
    ("delimiter", "line"), [(each, line) for each, lines in SEVERAL.items() for line in lines]
)
def test_several_labels_for_a_video_are_refused_wherever_the_line_stands(tmp_path, delimiter, line):
    """`v.mp4 163 4` may mean frames and a label, or two labels."""
    (tmp_path / "list.txt").write_text(f"{line}\nw{line}\n")
    with pytest.raises(UsageError, match="it has several labels for one video, .* line is '"):
        found(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text(f"a.mp4{delimiter}0\n{line}\n")
    with pytest.raises(UsageError, match="line 2: it has several labels for one video"):
        found(tmp_path / "list.txt")


@pytest.mark.parametrize("delimiter", [" ", ",", "\t"])
def test_folders_of_frames_are_recognized(tmp_path, delimiter):
    """mmaction2's rawframes: folder, number of frames, label."""
    lines = [("some/folder-1", "163", "1"), ("some/my folder", "122", "0")]
    (tmp_path / "frames.txt").write_text("\n".join(map(delimiter.join, lines)))
    with pytest.raises(UsageError, match="frames.txt is an annotation list of frame folders"):
        found(tmp_path / "frames.txt")


@pytest.mark.parametrize("line", ["folder 163 1 3 5", "some/folder 10 163 1", "f,1,2,3"])
def test_frames_with_offsets_or_several_labels_are_refused(tmp_path, line):
    (tmp_path / "frames.txt").write_text(f"{line}\n")
    with pytest.raises(UsageError, match="frame folders with offsets or several labels"):
        found(tmp_path / "frames.txt")


AMBIGUOUS = {
    "a sentence": "Dear diary",
    "an unknown header": "name,when",
    "an id and a label": "1420;Throwing something",
    "an id and a number": "1420 35",
    "three numbers": "1420 35 87",
    "a delimiter that is not known": "a.mp4|3",
    "a folder and a name": "videos/a jump",
    "a comment": "# made by hand",
}


@pytest.mark.parametrize("what", AMBIGUOUS)
@pytest.mark.parametrize("skip", [False, True])
def test_a_first_line_that_may_mean_several_things_is_refused(tmp_path, what, skip):
    (tmp_path / "list.txt").write_text(f"{AMBIGUOUS[what]}\na.mp4 3\n")
    with pytest.raises(UsageError, match="list.txt is not read as a list: .*; its first line is '"):
        found(tmp_path / "list.txt", skip_bad_lines=skip)


def test_the_delimiter_is_that_of_most_lines_where_the_first_fits_several(tmp_path):
    good = ["a.mp4", *(f"v{n}, x.mp4 3" for n in range(9))]
    (tmp_path / "list.txt").write_text("\n".join([*good, "w.mp4,3"]))
    with pytest.raises(UsageError, match="line 11: it is not a path and label .*'w.mp4,3'"):
        found(tmp_path / "list.txt")
    assert len(found(tmp_path / "list.txt", skip_bad_lines=True)) == 10


def lists_with(labels):
    """The same videos and labels in every kind of list."""
    rows = [(f"v{number}.mp4", label) for number, label in enumerate(labels)]
    yield "list.txt", "\n".join(f"{uri} {label}" for uri, label in rows)
    yield "list.csv", "\n".join(["uri,label", *(f'{uri},"{label}"' for uri, label in rows)])
    yield "headless.csv", "\n".join(f'{uri},"{label}"' for uri, label in rows)
    yield "list.tsv", "\n".join(["path\tclass", *(f"{uri}\t{label}" for uri, label in rows)])
    objects = [{"file_name": uri, "label": label} for uri, label in rows]
    yield "list.jsonl", "\n".join(map(json.dumps, objects))
    yield "list.json", json.dumps(objects)


@pytest.mark.parametrize(
    ("labels", "known", "said"),
    [
        ([0, 2, 1], 3, None),
        (["2", "0"], 2, None),
        (["Air_Drumming", "abseiling"], 2, None),
        (["air drumming", 2], 2, None),
        (["rowing", "diving"], 0, "none of the 2 labels is one of the model's classes"),
        (["rowing", "abseiling"], 1, "1 of 2 labels are not among the model's classes"),
        ([1, 2, 3], 0, "the ids go up to 3 and the model's from 0 to 2"),
    ],
)
def test_labels_are_ids_or_names_in_every_list_and_what_is_neither_is_said(
    tmp_path, labels, known, said
):
    for name, content in itertools.chain(lists_with(labels)):
        (tmp_path / name).write_text(content)
        checked = checked_input(Listing(str(tmp_path / name)), CLASSES).labels
        assert (checked.given, checked.known) == (len(labels), known), name
        problem = checked.problem()
        assert problem is None if said is None else said in problem, name
    frame = pd.DataFrame({"uri": [f"v{n}.mp4" for n in range(len(labels))], "label": labels})
    if len(set(map(type, labels))) == 1:
        frame.to_parquet(tmp_path / "list.parquet")
        checked = checked_input(Listing(str(tmp_path / "list.parquet")), CLASSES).labels
        assert (checked.given, checked.known) == (len(labels), known)
