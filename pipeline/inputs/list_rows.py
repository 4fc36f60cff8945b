"""Rows of a list of videos: a Parquet, CSV, TSV, JSON, JSON lines or text file, gzipped or not.

`user_manifest.py` makes videos of the rows.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UsageError
from pipeline.inputs.list_format import (
    Columns,
    NotAListError,
    columns_of,
    json_kind,
    shown,
    text_format,
)
from pipeline.storage.location import Location
from pipeline.storage.s3_filesystem import storage_reason
from workers.decoding.sniffing import TEXT, other_format, video_format

LIST_EXTENSIONS = (
    ".parquet", ".csv", ".tsv", ".txt", ".lst", ".list", ".jsonl", ".ndjson", ".json",
    ".csv.gz", ".tsv.gz", ".txt.gz", ".jsonl.gz", ".ndjson.gz", ".json.gz",
)  # fmt: skip
"""Extensions of lists. A file with another name is a list if its content is one."""

# Formats that hold tables or videos and cannot be read, by extension.
_UNSUPPORTED = {
    ".tar": "a tar archive, as WebDataset's shards are; unpack it and name the folder",
    ".tar.gz": "a tar archive; unpack it and name the folder",
    ".tgz": "a tar archive; unpack it and name the folder",
    ".zip": "a ZIP archive; unpack it and name what is in it",
    ".7z": "a 7z archive; unpack it and name what is in it",
    ".rar": "a RAR archive; unpack it and name what is in it",
    ".xlsx": "an Excel workbook; save it as CSV",
    ".xls": "an Excel workbook; save it as CSV",
    ".ods": "a spreadsheet; save it as CSV",
    ".arrow": "an Arrow file; write it as Parquet",
    ".feather": "a Feather file; write it as Parquet",
    ".orc": "an ORC file; write it as Parquet",
    ".avro": "an Avro file; write it as Parquet",
    ".pkl": "a pickle; write it as Parquet or CSV",
    ".pickle": "a pickle; write it as Parquet or CSV",
    ".npy": "a NumPy array; write it as CSV",
    ".npz": "a NumPy archive; write it as CSV",
    ".h5": "an HDF5 file; write it as Parquet or CSV",
    ".hdf5": "an HDF5 file; write it as Parquet or CSV",
    ".lmdb": "an LMDB database; write it as Parquet or CSV",
    ".sqlite": "an SQLite database; write it as Parquet or CSV",
    ".db": "a database; write it as Parquet or CSV",
    ".xml": "an XML document; write it as CSV",
    ".yaml": "a YAML document; write it as CSV",
    ".yml": "a YAML document; write it as CSV",
    ".m3u": "a playlist; name the videos themselves",
    ".m3u8": "a playlist; name the videos themselves",
    ".mpd": "a playlist; name the videos themselves",
    ".bz2": "a bzip2 archive; unpack it, or pack it with gzip",
    ".xz": "an xz archive; unpack it, or pack it with gzip",
    ".zst": "a zstd archive; unpack it, or pack it with gzip",
}

_BATCH_ROWS = 10_000
_HEAD_BYTES = 1 << 16
_BUFFER = 1 << 20
_CHUNK = 1 << 16
_LARGEST_DOCUMENT = 1 << 26
_GZIP = b"\x1f\x8b"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_JSON_LIST = re.compile(r'\s*\[\s*([\[{"\]]|$)')
_BLANKS = re.compile(r"\s*")
_JSON_OBJECT = re.compile(r'\s*\{\s*(["}]|$)')
_LINE_END = re.compile(r"\r\n|\r|\n")

Row = tuple[str, dict[str, Any]]
"""Where a row stands in its file ("line 3", "row 3", "object 3"), and its cells by the names in
`COLUMN_NAMES`."""


def is_list(location: Location, head: bytes) -> bool:
    """Whether a file without a video's extension is a list of videos.

    A file of unknown content counts as a video.

    Args:
        location: the file.
        head: its first bytes.

    Raises:
        UsageError: the file is of a known format that is neither a list nor a video.
    """
    name = location.name.lower()
    if name.endswith(LIST_EXTENSIONS) or head[:4] == b"PAR1":
        return True
    for extension, words in _UNSUPPORTED.items():
        if name.endswith(extension):
            raise UsageError(f"{location.uri} is {words}")
    if head[:2] in (_GZIP, *_UTF_16):
        return True
    other = other_format(head)
    if other not in (None, TEXT):
        raise UsageError(f"{location.uri} is {other}, neither a video nor a list of videos")
    return other == TEXT


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
    except UnicodeDecodeError as error:
        raise UsageError(
            f"cannot read the list {location.uri}: it is not UTF-8 "
            f"({error.object[error.start : error.start + 1]!r}); write it as UTF-8"
        ) from None
    except (OSError, ValueError, EOFError, zlib.error, csv.Error, pa.ArrowException) as error:
        reason = storage_reason(error).removeprefix(f"cannot read {location.uri}: ")
        raise UsageError(f"cannot read the list {location.uri}: {reason}") from error


def file_rows(location: Location, unread: dict[str, None]) -> Iterator[Row]:
    """Rows of a list in a file.

    Args:
        location: the file.
        unread: receives the names of columns that are not read, as soon as they are known.

    Raises:
        UsageError: the list cannot be read.
    """
    with _usage_errors(location):
        head = location.read_head(_HEAD_BYTES)
        name = location.name.lower()
        if head[:4] == b"PAR1" or name.removesuffix(".gz").endswith(".parquet"):
            yield from _parquet_rows(location, unread)
        else:
            yield from _text_rows(location, _start(head), unread)


def parquet_rows(location: Location, unread: dict[str, None]) -> Iterator[Row]:
    """Rows of a Parquet file; arguments and errors are those of `file_rows`."""
    with _usage_errors(location):
        yield from _parquet_rows(location, unread)


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
    def first(self) -> str:
        """The first line that is not empty."""
        return next(line for line in self.lines if line.strip())


def _text_rows(location: Location, start: _Start, unread: dict[str, None]) -> Iterator[Row]:
    name = location.name.lower().removesuffix(".gz")
    with _opened(location, start) as text:
        if _JSON_LIST.match(start.first):
            yield from _json_rows(_json_items(text), unread)
        elif _is_object(start.first) or name.endswith((".jsonl", ".ndjson")):
            yield from _json_rows(_json_lines(text), unread)
        elif _JSON_OBJECT.match(start.first):
            raise NotAListError(f"it looks like {json_kind(_document(text))}")
        else:
            written = text_format(location.name, start.lines)
            unread.update(dict.fromkeys(written.columns.unread if written.columns else ()))
            for number, row in written.rows(text):
                yield f"line {number}", row


def _start(head: bytes) -> _Start:
    """Raises NotAListError if the file is not text, or is empty."""
    gzipped = head[:2] == _GZIP
    if gzipped:
        head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, _HEAD_BYTES)
    encoding = "utf-16" if head[:2] in _UTF_16 else "utf-8-sig"
    other = None if encoding == "utf-16" else other_format(head) or video_format(head)
    if other not in (None, TEXT):
        raise NotAListError(f"it is {other}")
    text = codecs.getincrementaldecoder(encoding)().decode(head)
    lines = _LINE_END.split(text)
    if not text.strip():
        raise NotAListError("it is empty")
    if "\0" in text:
        raise NotAListError("it is not text")
    # The last line may continue beyond the bytes that were read.
    whole = lines[:-1] if len(head) >= _HEAD_BYTES and any(map(str.strip, lines[:-1])) else lines
    return _Start(encoding, gzipped, whole)


@contextmanager
def _opened(location: Location, start: _Start) -> Iterator[io.TextIOWrapper]:
    filesystem, path = location.filesystem()
    with filesystem.open_input_stream(path, compression=None, buffer_size=_BUFFER) as stream:
        content = gzip.GzipFile(fileobj=stream) if start.gzipped else stream
        yield io.TextIOWrapper(content, encoding=start.encoding, newline="")


def _is_object(line: str) -> bool:
    """Whether a line is one whole JSON object, as in a file of JSON lines."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _json_lines(text: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text, start=1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except ValueError:
                raise NotAListError(f"line {number} is not JSON: {shown(line)}") from None


def _json_items(text: io.TextIOBase) -> Iterator[tuple[str, Any]]:
    """Yields the items of a JSON list one by one: the list may be larger than memory."""
    decoder = json.JSONDecoder()
    buffer = text.read(_CHUNK)
    at, number, size = _after_blanks(buffer, 0) + 1, 0, _CHUNK
    while True:
        at = _after_blanks(buffer, at)
        if buffer[at : at + 1] == "]":
            if (buffer[at + 1 :] + text.read()).strip():
                raise NotAListError("text follows the end of its JSON list")
            return
        try:
            value, end = decoder.raw_decode(buffer, at)
            end = _after_blanks(buffer, end)
        except ValueError:
            end = len(buffer)
        if buffer[end : end + 1] in (",", "]"):
            number += 1
            yield f"object {number}", value
            at = end + (buffer[end] == ",")
            size = _CHUNK
            continue
        piece = text.read(size)
        if not piece:
            raise NotAListError(f"its JSON ends early or is damaged after {number:,} objects")
        # Pieces double in size, so that a large item is not parsed again for every small piece.
        size *= 2
        buffer, at = buffer[at:] + piece, 0


def _after_blanks(text: str, at: int) -> int:
    """The index of the first character at or after `at` that is not white space."""
    found = _BLANKS.match(text, at)
    return found.end() if found else at


def _json_rows(items: Iterable[tuple[str, Any]], unread: dict[str, None]) -> Iterator[Row]:
    """Rows of JSON objects, which may have different columns."""
    columns: dict[tuple[str, ...], Columns] = {}
    for place, item in items:
        if not isinstance(item, dict):
            raise NotAListError(
                f"{place} is {shown(json.dumps(item))}; objects with a uri are expected"
            )
        names = tuple(item)
        if names not in columns:
            try:
                columns[names] = columns_of(names)
            except NotAListError as error:
                raise NotAListError(f"of its objects, {place}: {error}") from None
            unread.update(dict.fromkeys(columns[names].unread))
        yield place, columns[names].of(item)


def _document(text: io.TextIOBase) -> Any:
    """The JSON document, for a message on its kind; empty if it is too large or damaged."""
    try:
        return json.loads(text.read(_LARGEST_DOCUMENT))
    except ValueError:
        return {}


def _parquet_rows(location: Location, unread: dict[str, None]) -> Iterator[Row]:
    filesystem, path = location.filesystem()
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        schema = file.schema_arrow
        columns = columns_of(schema.names)
        unread.update(dict.fromkeys(columns.unread))
        for ours, theirs in columns.names.items():
            _check_type(ours, schema.field(theirs))
        number = 0
        wanted = list(columns.names.values())
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", columns.of(row)


def _check_type(ours: str, field: pa.Field) -> None:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or (ours == "uri" and not text):
        raise NotAListError(
            f"its column {field.name} is {field.type}; the {ours} is "
            f"{'one text' if ours == 'uri' else 'one value'} per row"
        )
