"""Manifests that users give: what they mean, and what is wrong with them."""

import json
import math

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.listing import Listing


def found(source):
    return list(Listing(str(source)).videos())


ROWS = [
    {"uri": "videos/a.mp4", "video_id": "first", "label": "jump"},
    {"uri": "/elsewhere/b.mp4", "video_id": None, "label": None},
    {"uri": "s3://bucket/c.mp4", "video_id": "third", "label": "run"},
]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_manifests_give_addresses_ids_and_labels(tmp_path, kind):
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
    assert [v.label for v in videos] == ["jump", None, "run"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "path,label\nx.mp4,y", "has no column uri; it has path, label"),
        ("b.jsonl", '{"uri": "a.mp4"}\n{"label": "y"}', "row 2: no uri"),
        ("c.jsonl", "{nonsense", "cannot read the manifest"),
        ("e.jsonl", '["a.mp4"]', "row 1: no uri"),
        ("f.csv", "uri,size_bytes\na.mp4,1\nb.mp4,two", "row 2: size_bytes must be a whole number"),
        ("d.parquet", "nonsense", "cannot read the manifest"),
    ],
)
def test_a_malformed_manifest_is_refused_with_what_is_wrong(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=said):
        found(tmp_path / name)


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
    assert [v.label for v in videos] == (
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
    with pytest.raises(UsageError, match="row 1: the uri carries credentials") as refused:
        found(tmp_path / "a.jsonl")
    assert "hid" not in str(refused.value)


def test_a_large_manifest_is_read_in_pieces(tmp_path):
    rows = [{"uri": f"/{number}.mp4"} for number in range(25_000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "list.parquet")
    assert [v.uri for v in found(tmp_path / "list.parquet")] == [row["uri"] for row in rows]
