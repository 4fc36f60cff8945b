"""Rows that cannot be read: the list is refused with file, place and row, or they are counted."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.input_check import checked_input
from pipeline.inputs.left_out import BAD_ROWS, NAMES_PER_REASON, SECRET_ROWS
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.listing import Listing

SKIP = ListOptions(skip_bad_lines=True)
GOOD = [("a.mp4", "run"), ("b.mp4", "jump"), ("c.mp4", "run")]

# By the kind of list: how a good row is written, what begins the file, and each kind of bad row
# with a word of its reason.
COMMON_CSV = {
    "too many cells": (b"x.mp4,run,7,8", "5 cells|4 cells"),
    "a quote that is not closed": (b'"x.mp4,run,7', "quotes"),
    "text after a quote": (b'"x.mp4"y,run,7', "quotes"),
    "not UTF-8": (b"x.mp4,caf\xe9,7", r"not UTF-8 \(byte 0xe9\)"),
    "no uri": (b",run,7", "no uri"),
    "an empty cell of pandas": (b"nan,run,7", "how programs write an empty cell"),
    "a bad size": (b"x.mp4,run,many", "size_bytes must be a whole number"),
    "a scheme": (b"ftp://host/x.mp4,run,7", "ftp:// addresses"),
}
KINDS = {
    "list.csv": (
        b"uri,label,size_bytes",
        lambda uri, label: f"{uri},{label},7".encode(),
        COMMON_CSV,
    ),
    "list.tsv": (
        b"uri\tlabel\tsize_bytes",
        lambda uri, label: f"{uri}\t{label}\t7".encode(),
        {what: (row.replace(b",", b"\t"), why) for what, (row, why) in COMMON_CSV.items()},
    ),
    "list.jsonl": (
        None,
        lambda uri, label: json.dumps({"uri": uri, "label": label}).encode(),
        {
            "not JSON": (b'{"uri": "x.mp4"', "not JSON"),
            "nested too deeply": (b'{"uri": ' + b"[" * 100_000, "not JSON"),
            "no object": (b'["x.mp4"]', "a row is an object"),
            "not UTF-8": (b'{"uri": "caf\xe9.mp4"}', "not UTF-8"),
            "half a surrogate pair": (b'{"uri": "x\\ud800.mp4"}', "not Unicode"),
            "no uri": (b'{"label": "run"}', "no column uri"),
            "an empty uri": (b'{"uri": null, "label": "run"}', "no uri"),
            "a number": (b'{"uri": 7}', "is 7, which is not text"),
            "a list": (b'{"uri": ["x.mp4"]}', "write one value"),
            "NaN": (b'{"uri": NaN}', "no uri"),
            "a bad size": (b'{"uri": "x.mp4", "size_bytes": -1}', "size_bytes must be"),
        },
    ),
    "list.txt": (
        None,
        lambda uri, label: f"{uri} {label}".encode(),
        {
            "no path": (b"nothing here", "not a path and label"),
            "several labels": (b"x.mp4 3 4", "several labels"),
            "not UTF-8": (b"caf\xe9.mp4 3", "not UTF-8"),
            "a scheme": (b"ftp://host/x.mp4 3", "ftp:// addresses"),
        },
    ),
    "headless.csv": (
        None,
        lambda uri, label: f"{uri},{label}".encode(),
        {
            "several labels": (b"x.mp4,3,4", "several labels"),
            "several labels in quotes": (b'x.mp4,"3,4"', "several labels"),
            "a quote that is not closed": (b'"x.mp4,3', "quotes|a quote is missing"),
            "not UTF-8": (b"x.mp4,caf\xe9", "not UTF-8"),
        },
    ),
}
FAULTS = [(name, what) for name, (_, _, faults) in KINDS.items() for what in faults]


def written(path, *, bad, after):
    """A list whose row number `after` + 1 is the bad one; its line."""
    first, row, _ = KINDS[path.name]
    lines = [*([first] if first else []), *(row(*each) for each in GOOD)]
    place = after + (first is not None)
    lines.insert(place, bad)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return place + 1


@pytest.mark.parametrize(("name", "what"), FAULTS)
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_bad_row_is_refused_with_its_line_or_left_out_alone(tmp_path, name, what, after):
    bad, why = KINDS[name][2][what]
    number = written(tmp_path / name, bad=bad, after=after)
    with pytest.raises(
        UsageError, match=rf"{name}, line {number}: .*(?:{why}).*; the line is '"
    ) as no:
        checked_input(Listing(str(tmp_path / name)), ["run"])
    assert "--skip-bad-lines" in str(no.value)
    assert "\n" not in str(no.value)
    assert len(str(no.value)) < 800
    checked = checked_input(Listing(str(tmp_path / name), lists=SKIP), ["run"])
    videos = [(video.video_id, video.ground_truth) for video in checked.listing.again().videos()]
    assert videos == GOOD
    assert checked.listing.skipped == {BAD_ROWS: 1}
    assert checked.listing.rows == 4
    (named,) = checked.listing.names[BAD_ROWS]
    assert named.startswith(f"line {number}: ")


def test_rows_of_parquet_and_of_a_json_list_too(tmp_path):
    rows = [{"uri": "a.mp4", "size_bytes": "7"}, {"uri": None, "size_bytes": "7"},
            {"uri": "c.mp4", "size_bytes": "x"}]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "list.parquet")
    (tmp_path / "list.json").write_text(json.dumps([*rows, "no object"]))
    for name, place, count in (("list.parquet", "row", 2), ("list.json", "object", 3)):
        with pytest.raises(UsageError, match=f"{name}, {place} 2: no uri; the {place} is '.*null"):
            list(Listing(str(tmp_path / name)).videos())
        listing = Listing(str(tmp_path / name), lists=SKIP)
        assert [video.video_id for video in listing.videos()] == ["a.mp4"]
        assert listing.skipped == {BAD_ROWS: count}


def test_a_missing_quote_swallows_no_row_even_where_another_closes_it(tmp_path):
    """By the rules of CSV both bad lines and all between them are one cell."""
    between = [f"v{number}.mp4,run" for number in range(500)]
    lines = ["uri,label", '"x.mp4,run', *between, 'y.mp4,"run', "z.mp4,run"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    with pytest.raises(UsageError, match=r"list.csv, line 2: .*; the line is '\"x.mp4,run'"):
        list(Listing(str(tmp_path / "list.csv")).videos())
    listing = Listing(str(tmp_path / "list.csv"), lists=SKIP)
    assert len(list(listing.videos())) == 501
    assert listing.skipped == {BAD_ROWS: 2}


def test_a_cell_that_is_not_read_may_hold_line_breaks(tmp_path):
    text = 'uri,caption,label\na.mp4,"one\ntwo, three\n",run\nb.mp4,x,jump\n'
    (tmp_path / "list.csv").write_text(text)
    videos = Listing(str(tmp_path / "list.csv")).videos()
    assert [video.ground_truth for video in videos] == ["run", "jump"]
    (tmp_path / "list.csv").write_text(text + "c.mp4,x,run,y\n")
    with pytest.raises(UsageError, match=r"line 6: it has 4 cells"):
        list(Listing(str(tmp_path / "list.csv")).videos())


@pytest.mark.parametrize(
    "row",
    [
        '{"uri": "s3://AKIA:hidden@bucket/x.mp4"}',
        '{"uri": "https:\\/\\/user:hidden@host\\/x.mp4"}',
        '{"uri": "https:\\u002f/user:hidden@host/x.mp4"}',
        '{"uri": "x.mp4", "video_id": "https://host/x?X-Amz-Signature=hidden"}',
        '{"uri": "https:\\/\\/user:hidden@host\\/x.mp4"',
        '{"uri": "https:\\u002f\\/user:hidden@host\\/x.mp4"',
    ],
)
def test_rows_with_keys_are_refused_and_counted_apart_and_never_shown(tmp_path, row):
    path = tmp_path / "list.jsonl"
    path.write_text('{"uri": "a.mp4"}\n' + row + "\n")
    with pytest.raises(UsageError, match="list.jsonl, line 2: ") as refused:
        list(Listing(str(path)).videos())
    listing = Listing(str(path), lists=SKIP)
    assert [video.video_id for video in listing.videos()] == ["a.mp4"]
    assert listing.skipped == {SECRET_ROWS if row.endswith("}") else BAD_ROWS: 1}
    assert "hidden" not in str(refused.value) + repr(listing.names) + str(listing.named())


def test_of_many_bad_rows_a_few_are_named_and_all_are_counted(tmp_path):
    rows = ["uri,size_bytes", *(f"v{n}.mp4,{'x' * 300 if n % 2 else n}" for n in range(2000))]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    listing = Listing(str(tmp_path / "list.csv"), lists=SKIP)
    assert len(list(listing.videos())) == 1000
    assert listing.skipped == {BAD_ROWS: 1000}
    assert [name[:8] for name in listing.names[BAD_ROWS]] == ["line 3: ", "line 5: ", "line 7: "]
    assert len(listing.names[BAD_ROWS]) == NAMES_PER_REASON
    said = listing.named()
    assert said.startswith("left out: 1,000 of 2,000 rows that cannot be read (line 3: size_bytes")


def test_a_list_of_bad_rows_alone_is_refused_with_the_first_ones(tmp_path):
    (tmp_path / "list.csv").write_text("uri,label\n,x\n,y\n")
    with pytest.raises(UsageError, match=r"no video in .*list.csv: .*2 of 2 rows .*line 2: no uri"):
        checked_input(Listing(str(tmp_path / "list.csv"), lists=SKIP), ["x"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.json", b'[{"uri": "a.mp4"}, {"uri":'),
        ("deep.json", b'[{"uri": "a.mp4"}, {"uri":' + b"[" * 100_000),
        ("cut.csv.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\3"),
        ("cut.parquet", b"PAR1 and no more"),
        ("nul.csv", b"uri\na.mp4\nb\0.mp4\n"),
        ("notes.txt", b"Dear diary,\na.mp4 1\n"),
        ("lists.csv", "uri\na.mp4\n".encode("utf-16") + b"\0\xd8\n\0"),
    ],
)
def test_what_has_no_rows_is_refused_with_the_flag_too(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for lists in (ListOptions(), SKIP):
        with pytest.raises(UsageError, match=name) as refused:
            list(Listing(str(tmp_path / name), lists=lists).videos())
        assert "\n" not in str(refused.value)
