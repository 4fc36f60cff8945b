"""Text files of an export, written piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from pipeline.storage.location import Location


@contextmanager
def written(file: Location) -> Iterator[pa.NativeFile]:
    """A file to write bytes to, which appears whole when the block ends."""
    filesystem, path = file.filesystem()
    filesystem.create_dir(path.rpartition("/")[0], recursive=True)
    with filesystem.open_output_stream(path) as stream:
        yield stream


def write_json(file: Location, before: str, entries: Iterable[str], after: str) -> None:
    """Writes JSON text, its entries divided by commas, each on a line."""
    with written(file) as stream:
        stream.write(before.encode())
        for number, entry in enumerate(entries):
            stream.write((",\n" if number else "\n").encode() + entry.encode())
        stream.write(after.encode())


def json_of(value: Any) -> str:
    """JSON in one line; ASCII alone, so that no name changes how a reader sees it."""
    return json.dumps(value, allow_nan=False)
