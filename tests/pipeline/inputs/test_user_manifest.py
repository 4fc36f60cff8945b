"""Videos of lists: addresses, ids and labels of their rows, and rows that are refused."""

import json
import math

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.input_check import checked_input
from pipeline.inputs.listing import Listing


def found(source):
    return list(Listing(str(source)).videos())


ROWS = [
    {"uri": "videos/a.mp4", "video_id": "first", "label": "jump"},
    {"uri": "/elsewhere/b.mp4", "video_id": None, "label": None},
    {"uri": "s3://bucket/c.mp4", "video_id": "third", "label": "run"},
]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_lists_give_addresses_ids_and_labels(tmp_path, kind):
    path = tmp_path / f"list.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif kind == "csv":
        lines = [",".join(r[k] or "" for k in ("uri", "video_id", "label")) for r in ROWS]
        path.write_text("\n".join(["uri,video_id,label", *lines]))
    else:
        path.write_text("\n".join(json.dumps(row) for row in ROWS))
    videos = found(path)
    assert [v.uri for v in videos] == [
        str(tmp_path / "videos/a.mp4"),
        "/elsewhere/b.mp4",
        "s3://bucket/c.mp4",
    ]
    assert [v.video_id for v in videos] == ["first", "/elsewhere/b.mp4", "third"]
    assert [v.ground_truth for v in videos] == ["jump", None, "run"]


@pytest.mark.parametrize("empty", ["nan", "NaN", "None", "NULL", "<NA>"])
@pytest.mark.parametrize("column", ["uri", "video_id"])
def test_what_programs_write_into_empty_cells_is_no_name(tmp_path, empty, column):
    row = {"uri": "b.mp4", "video_id": "b", "label": "jump"} | {column: empty}
    text = "uri,video_id,label\na.mp4,a,run\n" + ",".join(row.values())
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(UsageError, match=f"line 3: a cell is '{empty}'"):
        found(tmp_path / "list.csv")


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_numbers_are_their_text_and_what_pandas_leaves_empty_is_empty(tmp_path, kind):
    path = tmp_path / f"list.{kind}"
    frame = pd.DataFrame(
        {
            "uri": ["/a.mp4", "/b.mp4", "/c.mp4"],
            "video_id": [0, 1, 2],
            "label": [0, math.nan, 7],  # pandas makes floats of these
            "size_bytes": [10, None, 30],
            "etag": ["c0ffee", None, '"c0ffee"'],
        }
    )
    if kind == "parquet":
        # NaN and not null, as other writers leave it.
        labels = pa.array([0.0, math.nan, 7.0], from_pandas=False)
        table = pa.Table.from_pandas(frame, preserve_index=False)
        pq.write_table(table.set_column(2, "label", labels), path)
    elif kind == "csv":
        frame.to_csv(path, index=False)
    else:
        path.write_text("\n".join(json.dumps(row) for row in frame.to_dict("records")))
    videos = found(path)
    assert [v.video_id for v in videos] == ["0", "1", "2"]
    # CSV has no numbers: what it says is the label.
    assert [v.ground_truth for v in videos] == (
        ["0.0", None, "7.0"] if kind == "csv" else ["0", None, "7"]
    )
    assert [v.size_bytes for v in videos] == [10, None, 30]
    assert [v.etag for v in videos] == ['"c0ffee"', None, '"c0ffee"']


@pytest.mark.parametrize(
    "uri",
    [
        "s3://AKIA:hidden@bucket/x.mp4",
        "s3://AKIA:hid/den@bucket/x.mp4",
        "https://user:hidden@host/x.mp4",
        "https://bucket.s3.amazonaws.com/x.mp4?X-Amz-Expires=60&X-Amz-Signature=hidden",
        "https://account.blob.core.windows.net/x.mp4?sv=1&sig=hidden",
    ],
)
def test_an_address_with_credentials_is_refused_and_not_repeated(tmp_path, uri):
    (tmp_path / "a.jsonl").write_text(json.dumps({"uri": uri}))
    with pytest.raises(UsageError, match="line 1: the uri contains credentials") as refused:
        found(tmp_path / "a.jsonl")
    assert "hid" not in str(refused.value)


@pytest.mark.parametrize(
    ("line", "uri"),
    [
        ("file:///data/a%20b.mp4", "/data/a b.mp4"),
        ("file:/data/a.mp4", "/data/a.mp4"),
        ("FILE://localhost/data/a.mp4", "/data/a.mp4"),
        ("s3a://bucket/a.mp4", "s3://bucket/a.mp4"),
        ("s3n://bucket/a.mp4", "s3://bucket/a.mp4"),
        ("S3://bucket/A.mp4", "s3://bucket/A.mp4"),
        ("~/a.mp4", "/home/me/a.mp4"),
        ("a:b.mp4", "{base}/a:b.mp4"),
        ("./a.mp4", "{base}/./a.mp4"),
        ("[group] a.mp4", "{base}/[group] a.mp4"),
    ],
)
def test_an_address_is_resolved_and_never_joined_to_the_folder_by_mistake(
    tmp_path, monkeypatch, line, uri
):
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "list.txt").write_text(f"{line}\n")
    (tmp_path / "list.csv").write_text(f"uri\n{line}\n")
    for name in ("list.txt", "list.csv"):
        ((video),) = found(tmp_path / name)
        assert video.uri == uri.format(base=tmp_path)


SCHEMES = ["hdfs", "wasbs", "ftp", "dbfs", "rtsp", "HDFS"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", ["csv", "txt", "jsonl", "parquet"])
def test_a_scheme_that_cannot_be_fetched_is_refused_before_any_work(tmp_path, scheme, kind):
    uris = ["a.mp4", f"{scheme}://place/b.mp4"]
    path = tmp_path / f"list.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"uri": uris}), path)
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps({"uri": uri}) for uri in uris))
    else:
        path.write_text("\n".join((["uri"] if kind == "csv" else []) + uris))
    place = {"csv": "line 3", "txt": "line 2", "jsonl": "line 2", "parquet": "row 2"}[kind]
    with pytest.raises(UsageError, match=f"{place}: {scheme}:// addresses cannot be read") as said:
        found(path)
    assert "s3://bucket/key" in str(said.value)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("C:\\videos\\a.mp4", "is a Windows path"),
        ("d:/videos/a.mp4", "is a Windows path"),
        ("\\\\server\\share\\a.mp4", "is a Windows path"),
        ("videos\\a.mp4", "has backslashes and there is no such file"),
        ("file://host/a.mp4", "names a machine"),
    ],
)
def test_an_address_of_another_machine_is_refused_with_the_reason(tmp_path, line, said):
    (tmp_path / "list.csv").write_text(f"uri\n{line}\n")
    with pytest.raises(UsageError, match=f"line 2: .*{said}"):
        found(tmp_path / "list.csv")


def test_a_file_that_has_a_backslash_in_its_name_is_taken(tmp_path):
    (tmp_path / "a\\b.mp4").touch()
    (tmp_path / "list.csv").write_text("uri\na\\b.mp4\n")
    assert [video.uri for video in found(tmp_path / "list.csv")] == [f"{tmp_path}/a\\b.mp4"]


def test_a_video_that_a_list_names_twice_is_refused_with_its_rows(tmp_path):
    rows = [f"v{number}.mp4,{number % 4}" for number in range(50)]
    (tmp_path / "list.csv").write_text("\n".join([*rows, "v7.mp4,7"]))
    with pytest.raises(UsageError, match=r"lists 'v7.mp4' twice, as its videos 8 and 51"):
        checked_input(Listing(str(tmp_path / "list.csv")), ["x"])
    assert checked_input(Listing(str(tmp_path / "list.csv")), ["x"], limit=50).labels.given == 50


def test_one_file_may_be_two_videos_of_a_list_where_each_has_an_id(tmp_path):
    (tmp_path / "list.csv").write_text("uri,video_id\nv.mp4,a\nv.mp4,b\n")
    checked_input(Listing(str(tmp_path / "list.csv")), ["x"])
    assert [video.video_id for video in found(tmp_path / "list.csv")] == ["a", "b"]


def test_the_last_row_is_checked_before_any_work(tmp_path):
    rows = "".join(f"v{number}.mp4,1\n" for number in range(20_000))
    (tmp_path / "list.csv").write_text(f"uri,size_bytes\n{rows}x.mp4,many\n")
    with pytest.raises(UsageError, match="line 20002: size_bytes"):
        checked_input(Listing(str(tmp_path / "list.csv")), ["x"])
