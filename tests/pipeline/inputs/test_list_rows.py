"""Rows of lists: the formats that are read, and the files that are refused."""

import gzip
import itertools
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.input_check import checked_input
from pipeline.inputs.listing import Listing
from tests.corpus import CORPUS


def found(source):
    return list(Listing(str(source)).videos())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("b.jsonl", '{"uri": "a.mp4"}\n{"label": "y"}', "object 2|line 2: it has no column uri"),
        ("g.jsonl", '{"uri": "a.mp4"}\n{"uri": null}', "line 2: no uri"),
        ("h.jsonl", '{"uri": "a.mp4"}\n{"uri": 7}', "line 2: the uri is 7, which is not text"),
        ("c.jsonl", "{nonsense", "line 1: it is not JSON; the line is '{nonsense'"),
        (
            "e.jsonl",
            '["a.mp4"]',
            "object 1: a row is an object such as .* the object is 'a.mp4'",
        ),
        ("i.json", '[{"uri": "a.mp4"}, {"uri":', "ends early or is damaged after 1 objects"),
        ("j.json", '[{"uri": "a.mp4"}][{"uri": "b.mp4"}]', "text follows the end"),
        ("k.json", '{"uri": {"0": "a.mp4"}}', "to_json\\(orient='records'\\)"),
        (
            "f.csv",
            "uri,size_bytes\na.mp4,1\nb.mp4,two",
            "line 3: size_bytes must be a whole number",
        ),
        ("l.csv", "uri,label\na.mp4,x\n,y", "line 3: no uri"),
        (
            "m.csv",
            "uri,label\na.mp4,x,y",
            "line 2: it has 3 cells and the header names 2, by commas; .* is 'a.mp4,x,y'",
        ),
        (
            "n.csv",
            'uri,label\n"a.mp4,x\nb.mp4,y\n',
            "line 2: its quotes are not those of CSV .*; the line is '\"a.mp4,x'",
        ),
        ("o.csv", "path,file_name\na,b", "2 columns that may be the uri: path, file_name"),
        ("p.csv", "uri,class,action\na,b,c", "2 columns that may be the label: class, action"),
        ("q.csv", "uri,label,label\na,b,c", "its header names 'label' twice"),
        (
            "r.csv",
            "name,when\nx,y",
            "its first line names no column uri .* first line is 'name,when'",
        ),
        (
            "s.txt",
            "a.mp4 1\nand so on and on\n",
            "line 2: it is not a path and label like the first line; the line is 'and so on",
        ),
        ("t.csv", "uri\n", "no video"),
        ("u.csv", "", "it is empty"),
        ("d.parquet", "nonsense", "cannot read the list"),
    ],
)
def test_a_malformed_list_is_refused_with_what_is_wrong(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=said):
        checked_input(Listing(str(tmp_path / name)), ["x"])


def test_a_large_manifest_is_read_in_pieces(tmp_path):
    rows = [{"uri": f"/{number}.mp4"} for number in range(25_000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "list.parquet")
    assert [v.uri for v in found(tmp_path / "list.parquet")] == [row["uri"] for row in rows]


DELIMITED = {",": ".csv", "\t": ".tsv", ";": ".csv", " ": ".txt"}
MEANT = [("v0.mp4", "0"), ("sub/v1.MP4", "17"), ("v 2.mkv", "3"), ("s3://bucket/v3.avi", "4")]


@pytest.mark.parametrize("delimiter", DELIMITED)
@pytest.mark.parametrize("header", ["uri,label", "Video Path,CLASS", None])
@pytest.mark.parametrize("packed", [False, True])
def test_however_a_list_is_written_it_names_the_same_videos(tmp_path, delimiter, header, packed):
    """Line ends, byte order marks, quotes, blanks and empty lines mean nothing."""
    variants = itertools.product(
        ("\n", "\r\n", "\r"), ("utf-8", "utf-8-sig", "utf-16"), (False, True), (False, True)
    )
    for number, (end, encoding, quoted, blanks) in enumerate(variants):
        pad = " " if blanks and delimiter != " " else ""
        rows = [cells.split(",") for cells in ([header] if header else [])]
        if delimiter == " " and header:
            rows = [[name.replace(" ", "_") for name in row] for row in rows]
        rows += [list(row) for row in MEANT]
        needs = delimiter == " " and header is not None  # blanks in a path are told apart by quotes
        lines = [
            delimiter.join(
                f'{pad}"{cell}"{pad}' if quoted or (needs and " " in cell) else f"{pad}{cell}{pad}"
                for cell in row
            )
            for row in rows
        ]
        empty = [] if delimiter == " " else [delimiter]
        text = end.join([lines[0], "", *lines[1:], *empty, "  ", ""])
        content = text.encode(encoding)
        path = tmp_path / f"list-{number}{DELIMITED[delimiter]}{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)
        videos = found(path)
        wanted = [uri if "://" in uri else str(tmp_path / uri) for uri, _ in MEANT]
        assert [video.uri for video in videos] == wanted, text
        assert [video.ground_truth for video in videos] == [label for _, label in MEANT], text


@pytest.mark.parametrize("name", ["list.json", "list.jsonl", "list.ndjson", "list", "list.json.gz"])
@pytest.mark.parametrize("indent", [None, 2])
def test_json_is_read_as_a_list_of_objects_or_as_lines_of_them(tmp_path, name, indent):
    rows = [{"file_name": f"v{number}.mp4", "label": number} for number in range(5000)]
    if "jsonl" in name or "ndjson" in name:
        text = "\n\n".join(json.dumps(row) for row in rows)
    else:
        text = json.dumps(rows, indent=indent)
    content = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    videos = found(tmp_path / name)
    assert [video.uri for video in videos] == [str(tmp_path / row["file_name"]) for row in rows]
    assert [video.ground_truth for video in videos] == [str(row["label"]) for row in rows]


def test_objects_may_name_their_columns_in_any_order_and_leave_some_out(tmp_path):
    rows = [{"uri": "a.mp4"}, {"label": "x", "uri": "b.mp4"}, {"uri": "c.mp4", "more": [1]}]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [video.ground_truth for video in found(tmp_path / "list.jsonl")] == [None, "x", None]


def test_a_text_without_an_extension_is_a_list_where_it_looks_like_one(tmp_path):
    (tmp_path / "k400_val").write_text("v0.mp4 0\nv1.mp4 1\n")
    assert [video.ground_truth for video in found(tmp_path / "k400_val")] == ["0", "1"]
    (tmp_path / "only paths").write_text("my v0.mp4\na, b.mp4\n")
    assert [v.video_id for v in found(tmp_path / "only paths")] == ["my v0.mp4", "a, b.mp4"]
    (tmp_path / "notes").write_text("Dear diary,\nnothing happened.\n")
    with pytest.raises(UsageError, match="names no column uri .* first line is 'Dear diary,'"):
        found(tmp_path / "notes")


FOREIGN = {
    "kinetics.csv": ("label,youtube_id,time_start\nabseiling,-3B32,59", "Kinetics' official CSV"),
    "frames.txt": ("some/folder 163 1\nother/folder 120 2", "annotation list of frame folders"),
    "several.txt": ("a.mp4 1 2\nb.mp4 3 4", "it has several labels for one video"),
    "ssv2.json": ('[{"id": "1", "label": "x", "template": "[y]"}]', "Something-Something's JSON"),
    "coco.json": ('{"info": {},\n "images": [], "annotations": []}', "COCO's JSON"),
    "activitynet.json": ('{"version": "1", "database": {}}', "ActivityNet's JSON"),
    "brush_hair_test_split1.txt": ("a.avi 1\nb.avi 2", "HMDB51's split files"),
    "playlist.txt": ("#EXTM3U\n#EXTINF:1\na.ts", "an HLS playlist"),
    "list.xml": ("<?xml version='1.0'?><a/>", "an XML document"),
    "list.m3u8": ("a.mp4\n", "a playlist"),
    "table.xlsx": ("PK", "an Excel workbook"),
    "list.csv.zip": ("x", "a ZIP archive"),
    "latin.csv": (b"uri,label\na.mp4,caf\xe9\n", "it is not UTF-8"),
    "photo.jpg": (b"\xff\xd8\xff\xe0", "a JPEG picture"),
    "photo.csv": (b"\xff\xd8\xff\xe0", "a JPEG picture"),
    "cut.csv.gz": (gzip.compress(b"uri\n" + b"a.mp4\n" * 99999)[:-40], "cannot read the list"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_another_format_is_refused_by_its_name_in_one_line(tmp_path, name):
    content, said = FOREIGN[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=said) as refused:
        found(tmp_path / name)
    assert "\n" not in str(refused.value)
    assert name in str(refused.value)


def test_a_refusal_shows_no_credentials(tmp_path):
    (tmp_path / "list.txt").write_text(
        "see s3://AKIA:hid/den@bucket/x and https://h/x?sig=hidden\n"
    )
    with pytest.raises(UsageError, match="see s3://") as refused:
        found(tmp_path / "list.txt")
    assert "hid" not in str(refused.value)


@pytest.mark.parametrize("kind", ["dictionary", "large_string"])
def test_texts_of_a_parquet_file_may_be_of_any_kind(tmp_path, kind):
    uris = pa.array(["a.mp4", "b.mp4"])
    uris = uris.dictionary_encode() if kind == "dictionary" else uris.cast(pa.large_string())
    pq.write_table(pa.table({"path": uris, "class_id": [3, 4]}), tmp_path / "list")
    assert [video.ground_truth for video in found(tmp_path / "list")] == ["3", "4"]


def test_a_parquet_column_of_another_type_is_refused(tmp_path):
    pq.write_table(pa.table({"video": [{"id": 1, "path": "a.mp4"}]}), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="its column video is struct<"):
        found(tmp_path / "a.parquet")
    pq.write_table(pa.table({"uri": ["a.mp4"], "label": [[1, 2]]}), tmp_path / "b.parquet")
    with pytest.raises(UsageError, match="its column label is list<"):
        found(tmp_path / "b.parquet")


def test_a_directory_of_parquet_files_is_one_list(tmp_path):
    for number in range(3):
        folder = tmp_path / "list" / f"day={number}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"uri": [f"{number}.mp4"]}), folder / "part-0.parquet")
    (tmp_path / "list" / "_SUCCESS").touch()
    (tmp_path / "list" / "_temporary").mkdir()
    pq.write_table(pa.table({"uri": ["x.mp4"]}), tmp_path / "list" / "_temporary" / "x.parquet")
    listing = Listing(str(tmp_path / "list"))
    assert [v.uri for v in listing.videos()] == [f"{tmp_path}/list/{n}.mp4" for n in range(3)]
    assert listing.is_list
    assert ".parquet" not in listing.skipped or listing.skipped[".parquet"] == 1


def test_parquet_files_beside_videos_are_no_list(tmp_path):
    pq.write_table(pa.table({"uri": ["x.mp4"]}), tmp_path / "a.parquet")
    (tmp_path / "z.mp4").write_bytes(b"x")
    listing = Listing(str(tmp_path))
    assert [video.video_id for video in listing.videos()] == ["z.mp4"]
    assert listing.skipped == {".parquet": 1}


def test_the_output_of_a_run_and_a_delta_table_are_no_lists(tmp_path):
    pq.write_table(pa.table({"uri": ["x.mp4"]}), tmp_path / "a.parquet")
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(UsageError, match="is a Delta table"):
        found(tmp_path)
    (tmp_path / "run.json").touch()
    with pytest.raises(UsageError, match="is the OUTPUT of a run"):
        found(tmp_path)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_columns_that_are_not_read_are_told(tmp_path, kind):
    """A label under a name that is not known here would be lost without a word."""
    path = tmp_path / f"list.{kind}"
    row = {"": "0", "uri": "a.mp4", "ground truth": "jump", "start": "3"}
    if kind == "csv":
        path.write_text("\n".join([",".join(row), ",".join(row.values())]))
    elif kind == "jsonl":
        path.write_text(json.dumps(row) + "\n" + json.dumps({"uri": "b.mp4", "end": 4}))
    else:
        pq.write_table(pa.Table.from_pylist([row]), path)
    listing = Listing(str(path))
    list(listing.videos())
    wanted = ["ground truth", "start"] + (["end"] if kind == "jsonl" else [])
    assert list(listing.unread) == wanted


FOUND = CORPUS.parent / "found" / "lists"
TWO = [("v0.mp4", "jump"), ("v1.mp4", "run")]
IDS = [("v0.mp4", "0"), ("v1.mp4", "1")]
OUTCOMES = {
    "crlf_bom.csv": TWO,
    "hf_metadata.csv": TWO[:1],
    "k400_val.txt": IDS,
    "kinetics_official.csv": "Kinetics' official CSV",
    "mmaction_space.csv": IDS,
    "semicolon.csv": TWO[:1],
    "space_header.csv": TWO[:1],
    "spaces.csv": TWO[:1],
    "ssv2.json": "Something-Something's JSON",
    "tab.tsv": TWO[:1],
    "trailing_blank.csv": TWO,
    "videomae_noheader.csv": IDS,
}


@pytest.mark.skipif(not FOUND.is_dir(), reason="the lists that were found are not here")
def test_every_list_that_was_found_is_read_or_refused():
    assert sorted(path.name for path in FOUND.iterdir()) == sorted(OUTCOMES)
    for name, outcome in OUTCOMES.items():
        if isinstance(outcome, str):
            with pytest.raises(UsageError, match=outcome):
                found(FOUND / name)
        else:
            assert [
                (video.video_id, video.ground_truth) for video in found(FOUND / name)
            ] == outcome, name
