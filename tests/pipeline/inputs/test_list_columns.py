"""Columns of lists: found by meaning or named by flags, in files that tools of the field wrote."""

import json

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.input_check import checked_input
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.listing import Listing

ROWS = {
    "clip_file": ["a.mp4", "sub/b, c.mp4", 'd "e".mp4'],
    "what": ["air drumming", None, 'answering, "questions"'],
    "key": ["first", "second", "third"],
    "fps": [25, 30, 24],
    "uri of page": ["https://x/1", "https://x/2", "https://x/3"],
}
NAMED = ListOptions(uri_column="clip_file", label_column="what", id_column="key")


def by_datasets(path):
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict(ROWS)
    {".csv": made.to_csv, ".jsonl": made.to_json, ".parquet": made.to_parquet}[path.suffix](path)


def by_duckdb(path):
    frame = pd.DataFrame(ROWS)  # noqa: F841 - DuckDB finds it by its name
    how = {".csv": "csv, header", ".jsonl": "json", ".parquet": "parquet"}[path.suffix]
    duckdb.sql(f"COPY (SELECT * FROM frame) TO '{path}' (FORMAT {how})")


def by_pandas(path):
    frame = pd.DataFrame(ROWS)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif path.suffix == ".json":
        frame.to_json(path, orient="records")
    elif path.suffix == ".tsv":
        frame.to_csv(path, sep="\t", index=False, encoding="utf-8-sig", lineterminator="\r\n")
    else:
        frame.to_parquet(path)


def by_polars(path):
    frame = pl.DataFrame(ROWS)
    {".csv": frame.write_csv, ".jsonl": frame.write_ndjson, ".parquet": frame.write_parquet}[
        path.suffix
    ](path)


def by_arrow(path):
    table = pa.table(ROWS)
    (pyarrow.csv.write_csv if path.suffix == ".csv" else pq.write_table)(table, path)


WRITERS = [
    *((by_pandas, kind) for kind in ("csv", "tsv", "json", "jsonl", "parquet")),
    *((write, kind) for write in (by_datasets, by_duckdb, by_polars) for kind in ("csv", "jsonl",
                                                                                  "parquet")),
    *((by_arrow, kind) for kind in ("csv", "parquet")),
]  # fmt: skip


@pytest.mark.parametrize(("write", "kind"), WRITERS)
def test_columns_under_other_names_are_named_whoever_wrote_the_list(tmp_path, write, kind):
    path = tmp_path / f"list.{kind}"
    write(path)
    listing = Listing(str(path), lists=NAMED)
    videos = list(listing.videos())
    assert [video.uri for video in videos] == [f"{tmp_path}/{uri}" for uri in ROWS["clip_file"]]
    assert [video.ground_truth for video in videos] == ROWS["what"]
    assert [video.video_id for video in videos] == ROWS["key"]
    assert list(listing.unread) == ["fps", "uri of page"]
    with pytest.raises(UsageError, match="no column uri|names no column uri"):
        list(Listing(str(path)).videos())


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "parquet"])
@pytest.mark.parametrize("column", ["uri_column", "label_column", "id_column"])
def test_a_column_that_is_not_there_is_refused_with_those_that_are_and_the_nearest(
    tmp_path, kind, column
):
    path = tmp_path / f"list.{kind}"
    frame = pd.DataFrame({"uri": ["a.mp4"], "clip_file": ["a.mp4"], "genre": ["x"], "key": ["1"]})
    if kind in ("json", "jsonl"):
        frame.to_json(path, orient="records", lines=kind == "jsonl")
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    wrong, near = {"uri_column": ("clip_files", "clip_file"), "label_column": ("genres", "genre"),
                   "id_column": ("keys", "key")}[column]  # fmt: skip
    with pytest.raises(UsageError, match="list") as refused:
        list(Listing(str(path), lists=ListOptions(**{column: wrong})).videos())
    said = str(refused.value)
    assert f"it has no column '{wrong}', which --{column.replace('_', '-')} names" in said
    assert all(repr(name) in said for name in frame.columns)
    assert f"did you mean '{near}'?" in said
    assert "\n" not in said


def test_a_flag_takes_precedence_over_a_column_of_the_usual_name(tmp_path):
    row = {"uri": "no.mp4", "label": "no", "video_id": "no", "my": "a.mp4", "x": "b", "y": "c"}
    pd.DataFrame([row]).to_csv(tmp_path / "list.csv", index=False)
    lists = ListOptions(uri_column="my", label_column="x", id_column="y")
    (video,) = Listing(str(tmp_path / "list.csv"), lists=lists).videos()
    assert (video.video_id, video.uri, video.ground_truth) == ("c", f"{tmp_path}/a.mp4", "b")


def test_of_two_columns_that_may_be_it_a_flag_chooses(tmp_path):
    (tmp_path / "list.csv").write_text("path,file_name\na.mp4,b.mp4\n")
    with pytest.raises(UsageError, match="path, file_name; choose one by --uri-column"):
        list(Listing(str(tmp_path / "list.csv")).videos())
    lists = ListOptions(uri_column="file_name")
    (video,) = Listing(str(tmp_path / "list.csv"), lists=lists).videos()
    assert video.video_id == "b.mp4"


def test_an_object_may_lack_a_label_but_one_must_have_it(tmp_path):
    rows = [{"uri": "a.mp4"}, {"uri": "b.mp4", "what": "x"}]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lists = ListOptions(label_column="what")
    videos = list(Listing(str(tmp_path / "list.jsonl"), lists=lists).videos())
    assert [video.ground_truth for video in videos] == [None, "x"]


@pytest.mark.parametrize("column", ["uri_column", "label_column", "id_column"])
def test_a_list_without_a_header_has_no_column_to_name(tmp_path, column):
    (tmp_path / "list.txt").write_text("a.mp4 1\nb.mp4 0\n")
    with pytest.raises(UsageError, match=f"--{column.replace('_', '-')} names"):
        list(Listing(str(tmp_path / "list.txt"), lists=ListOptions(**{column: "x"})).videos())


@pytest.mark.parametrize("option", ["uri_column", "label_column", "delimiter", "video_root"])
def test_flags_of_lists_are_refused_for_what_is_no_list(tmp_path, option):
    (tmp_path / "a.mp4").write_bytes(b"x")
    lists = ListOptions(**{option: str(tmp_path) if option == "video_root" else "x"})
    for source in (tmp_path, tmp_path / "a.mp4"):
        with pytest.raises(
            UsageError, match=f"not a list of videos, which --{option.replace('_', '-')} is"
        ):
            checked_input(Listing(str(source), lists=lists), ["x"])
    checked_input(Listing(str(tmp_path), lists=ListOptions(skip_bad_lines=True)), ["x"])
