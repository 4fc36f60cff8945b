"""Hostile lists: what a list holds costs no more memory than its rows."""

import gzip
import json
import tracemalloc

import pytest

from pipeline.errors import UsageError
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.listing import Listing

MIB = 1 << 20
SKIP = ListOptions(skip_bad_lines=True)


def peak(path, lists=SKIP):
    """Videos of a list, or its refusal, and the memory that reading it took."""
    tracemalloc.start()
    try:
        outcome = list(Listing(str(path), lists=lists).videos())
    except UsageError as error:
        outcome = str(error)
    finally:
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return outcome, used


@pytest.mark.parametrize(
    ("name", "start", "piece"),
    [
        ("list.csv.gz", b"uri,label\na.mp4,", b"x" * MIB),
        ("list.csv.gz", b'uri,label\na.mp4,"', b"x" * MIB),
        ("list.txt.gz", b"a.mp4 1\nb.mp4 ", b"9" * MIB),
        ("list.jsonl.gz", b'{"uri": "a.mp4"}\n{"uri": "', b"x" * MIB),
        ("list.json.gz", b'[{"uri": "a.mp4"}, {"uri": "', b"x" * MIB),
        ("list.json.gz", b'[{"uri": "a.mp4"}, ', b"[" * MIB),
    ],
)
def test_a_line_without_an_end_is_refused_in_little_memory(tmp_path, name, start, piece):
    with gzip.open(tmp_path / name, "wb", compresslevel=1) as file:
        file.write(start)
        for _ in range(256):
            file.write(piece)
    outcome, used = peak(tmp_path / name)
    assert isinstance(outcome, str)
    assert "characters" in outcome
    assert len(outcome) < 500
    assert used < 128 * MIB


@pytest.mark.slow
def test_objects_that_all_have_other_keys_are_not_kept(tmp_path):
    with (tmp_path / "list.jsonl").open("w") as file:
        for number in range(20_000):
            file.write(json.dumps({"uri": "a.mp4", f"{'k' * 500}-{number}": 1}) + "\n")
    listing = Listing(str(tmp_path / "list.jsonl"))
    tracemalloc.start()
    assert sum(1 for _ in listing.videos()) == 20_000
    assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    tracemalloc.stop()
    assert len(listing.unread) == 100


def test_a_missing_quote_in_each_line_costs_no_square_of_time(tmp_path):
    """Each such line could swallow all that follow it."""
    lines = ["uri,label", *(f'"v{number}.mp4,run' for number in range(20_000))]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    listing = Listing(str(tmp_path / "list.csv"), lists=SKIP)
    assert list(listing.videos()) == []
    assert listing.skipped.total() == 20_000
