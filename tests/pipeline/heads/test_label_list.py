import gzip
import json

import pytest

from pipeline.errors import UsageError
from pipeline.heads.label_list import LabelRow, read_label_list
from pipeline.heads.left_out import LeftOut
from pipeline.inputs.list_options import ListOptions
from pipeline.storage.location import Location


@pytest.fixture
def rows(tmp_path):
    """Reads a list of this text: its rows."""

    def read(text, name="labels.csv", left_out=None, **options):
        file = tmp_path / name
        file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        lists = ListOptions(**options)
        return list(read_label_list(Location.of(str(file)), lists, left_out or LeftOut()))

    return read


def test_a_list_of_ids_needs_no_paths(rows):
    assert rows("video_id,label\na,cat\nb,dog\n") == [
        LabelRow("a", "", "cat"),
        LabelRow("b", "", "dog"),
    ]


def test_relative_paths_start_at_the_folder_of_the_list(rows, tmp_path):
    (row,) = rows("path,label\nsub/a.mp4,cat\n")
    assert row == LabelRow("sub/a.mp4", f"{tmp_path}/sub/a.mp4", "cat")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv.gz", "video_id,label\na,cat\n"),
        ("labels.tsv", "video_id\tlabel\na\tcat\n"),
        ("labels.jsonl", json.dumps({"video_id": "a", "label": "cat"}) + "\n"),
        ("labels.json", json.dumps([{"video_id": "a", "label": "cat"}])),
    ],
)
def test_every_form_of_a_list_is_read(rows, name, text):
    assert rows(text, name) == [LabelRow("a", "", "cat")]


def test_columns_of_other_names_are_named_by_flags(rows):
    text = "key|what|label\na|cat|wrong\n"
    found = rows(text, id_column="key", label_column="what", delimiter="|")
    assert found == [LabelRow("a", "", "cat")]


@pytest.mark.parametrize("header", ["video_id,what", "clip,what"])
def test_a_column_that_is_not_there_is_refused_with_those_that_are(rows, header):
    with pytest.raises(UsageError, match="--label-column") as no:
        rows(f"{header}\na,cat\n", label_column="waht")
    assert all(repr(name) in str(no.value) for name in header.split(","))


def test_several_labels_of_a_video_are_parted_by_semicolons(rows):
    one, other, none = rows("video_id,label\na,cat; dog\nb,cat\nc,\n")
    assert one.labels == ("cat", "dog")
    assert other.labels == ("cat",)
    assert none.labels == ()


def test_kinetics_list_is_matched_by_the_ids_that_a_run_gives_it(rows):
    (row,) = rows("label,youtube_id,time_start,time_end,split\nabseiling,x_y,59,69,val\n")
    assert row == LabelRow("x_y_000059_000069", "", "abseiling")


def test_a_bad_row_ends_the_command_or_is_counted(rows):
    text = "video_id,label\na,cat\nb,cat,cat,cat\n"
    with pytest.raises(UsageError, match="line 3"):
        rows(text)
    left_out = LeftOut()
    assert len(rows(text, left_out=left_out, skip_bad_lines=True)) == 1
    assert sum(left_out.counts.values()) == 1


def test_a_list_without_a_column_of_videos_is_refused(rows):
    with pytest.raises(UsageError, match="labels.csv"):
        rows("name,label\na,cat\n")
