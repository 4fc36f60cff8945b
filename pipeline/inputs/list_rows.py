"""Rows of a list of videos: a Parquet, CSV, TSV, JSON, JSON lines or text file, gzipped or not.

`user_manifest.py` makes videos of the rows.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.inputs.dataset_lists import activitynet_rows
from pipeline.inputs.json_rows import (
    LONGEST,
    is_row,
    json_document,
    json_items,
    json_lines,
    json_rows,
)
from pipeline.inputs.list_columns import DATABASE, check_type, columns_of, note_unread
from pipeline.inputs.list_detection import GZIP, UTF_16
from pipeline.inputs.list_format import json_kind, text_format
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.list_row import NotAListError, Row
from pipeline.inputs.parquet_bytes import bytes_column, bytes_rows
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import parquet_file
from pipeline.storage.storage_errors import storage_reason
from workers.decoding.sniffing import TEXT, other_format, video_format
from workers.failures import UnitFailure

_BATCH_ROWS = 10_000
_HEAD_BYTES = 1 << 16
_BUFFER = 1 << 20
_JSON_LIST = re.compile(r'\s*\[\s*([\[{"\]]|$)')
_JSON_OBJECT = re.compile(r'\s*\{\s*(["}]|$)')
_LINE_END = re.compile(r"\r\n|\r|\n")


@contextmanager
def _usage_errors(location: Location) -> Iterator[None]:
    """Raises errors of reading a list as UsageError, in one line that names the file."""
    try:
        yield
    except UsageError:
        raise
    except FileNotFoundError:
        raise UsageError(f"there is no {location.uri}") from None
    except NotAListError as error:
        raise UsageError(f"{location.uri} is not read as a list: {error}") from None
    except UnitFailure as failure:
        raise UsageError(f"cannot read the list {location.uri}: {failure.message}") from None
    except UnicodeDecodeError as error:
        raise UsageError(
            f"cannot read the list {location.uri}: it is not {error.encoding.upper()} "
            f"({error.object[error.start : error.start + 1]!r}); write it as UTF-8"
        ) from None
    except (OSError, ValueError, EOFError, zlib.error, pa.ArrowException) as error:
        reason = storage_reason(error).removeprefix(f"cannot read {location.uri}: ")
        raise UsageError(f"cannot read the list {location.uri}: {reason}") from error


def file_rows(location: Location, options: ListOptions, unread: dict[str, None]) -> Iterator[Row]:
    """Rows of a list in a file, with those that cannot be read.

    Args:
        location: the file.
        options: of the list.
        unread: receives the names of columns that are not read, as soon as they are known.

    Raises:
        UsageError: the list as a whole cannot be read.
    """
    with _usage_errors(location):
        head = location.read_head(_HEAD_BYTES)
        name = location.name.lower()
        if head[:4] == b"PAR1" or name.removesuffix(".gz").endswith(".parquet"):
            yield from _parquet_rows(location, options, unread)
        else:
            yield from _text_rows(location, _start(head), options, unread)


def parquet_rows(
    location: Location, options: ListOptions, unread: dict[str, None]
) -> Iterator[Row]:
    """Rows of a Parquet file; arguments and errors are those of `file_rows`."""
    with _usage_errors(location):
        yield from _parquet_rows(location, options, unread)


@dataclass(frozen=True)
class _Start:
    """The start of a text file.

    Attributes:
        encoding: of the text.
        gzipped: whether the file is compressed.
        lines: first lines, whole ones; at least one is not empty.
    """

    encoding: str
    gzipped: bool
    lines: list[str]

    @property
    def errors(self) -> str:
        """How bytes that are not of the encoding are decoded: in UTF-8 they cost their line."""
        return "strict" if self.encoding == "utf-16" else "surrogateescape"

    @property
    def first(self) -> str:
        """The first line that is not empty."""
        return next(line for line in self.lines if line.strip())


def _text_rows(
    location: Location, start: _Start, options: ListOptions, unread: dict[str, None]
) -> Iterator[Row]:
    name = location.name.lower().removesuffix(".gz")
    with _opened(location, start) as text:
        if _JSON_LIST.match(start.first):
            yield from json_rows(json_items(text), options, unread)
        elif is_row(start.first) or name.endswith((".jsonl", ".ndjson")):
            yield from json_rows(json_lines(_lines(text)), options, unread)
        elif _JSON_OBJECT.match(start.first):
            document = json_document(text)
            if options.video_root is None or not isinstance(document.get(DATABASE), dict):
                raise NotAListError(f"this looks like {json_kind(document)}")
            yield from activitynet_rows(document[DATABASE])
        else:
            written = text_format(location.name, start.lines, options)
            note_unread(unread, written.columns.unread if written.columns else ())
            yield from written.rows(_lines(text))


def _lines(text: io.TextIOBase) -> Iterator[str]:
    """The lines of a text, none of which takes much memory."""
    for number, line in enumerate(iter(lambda: text.readline(LONGEST), ""), start=1):
        if len(line) == LONGEST and line[-1] not in "\r\n":
            raise NotAListError(f"line {number} has more than {LONGEST:,} characters")
        yield line


def _start(head: bytes) -> _Start:
    """Raises NotAListError if the file is not text, or is empty."""
    gzipped = head[:2] == GZIP
    if gzipped:
        head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, _HEAD_BYTES)
    encoding = "utf-16" if head[:2] in UTF_16 else "utf-8-sig"
    other = None if encoding == "utf-16" else other_format(head) or video_format(head)
    if other not in (None, TEXT):
        raise NotAListError(f"it is {other}")
    start = _Start(encoding, gzipped, [])
    text = codecs.getincrementaldecoder(encoding)(start.errors).decode(head)
    lines = _LINE_END.split(text)
    if not text.strip():
        raise NotAListError("it is empty")
    if "\0" in text:
        raise NotAListError("it is not text")
    # The last line may continue beyond the bytes that were read.
    whole = lines[:-1] if len(head) >= _HEAD_BYTES and any(map(str.strip, lines[:-1])) else lines
    return replace(start, lines=whole)


@contextmanager
def _opened(location: Location, start: _Start) -> Iterator[io.TextIOWrapper]:
    filesystem, path = location.filesystem()
    with filesystem.open_input_stream(path, compression=None, buffer_size=_BUFFER) as stream:
        content = gzip.GzipFile(fileobj=stream) if start.gzipped else stream
        yield io.TextIOWrapper(content, start.encoding, start.errors, newline="")


def _parquet_rows(
    location: Location, options: ListOptions, unread: dict[str, None]
) -> Iterator[Row]:
    with parquet_file(location) as file:
        schema = file.schema_arrow
        held = bytes_column(schema, options.uri_column)
        columns = held.columns(schema, options) if held else columns_of(schema.names, options)
        note_unread(unread, columns.unread)
        for ours, theirs in columns.names.items():
            check_type(ours, schema.field(theirs))
        if held is not None:
            yield from bytes_rows(location, held, columns)
            return
        number = 0
        wanted = list(columns.names.values())
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
            for row in batch.to_pylist():
                number += 1
                yield Row(f"row {number}", columns.of(row), row)
