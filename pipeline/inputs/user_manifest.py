"""Lists of videos that users give: Parquet, CSV and its kin, JSON and JSON lines, plain text."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import math
import posixpath
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
from pipeline.inputs.video import Video
from pipeline.storage.addresses import absolute
from pipeline.storage.location import Location, carries_credentials
from pipeline.storage.s3_filesystem import storage_reason
from workers.decoding.sniffing import TEXT, other_format, video_format

LIST_EXTENSIONS = (
    ".parquet", ".csv", ".tsv", ".txt", ".lst", ".list", ".jsonl", ".ndjson", ".json",
    ".csv.gz", ".tsv.gz", ".txt.gz", ".jsonl.gz", ".ndjson.gz", ".json.gz",
)  # fmt: skip
"""Names of lists. Files of other names are lists by what is in them."""

# Formats that hold tables or videos and are not read, by their names.
_FOREIGN = {
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
# How pandas, SQL and Spark write a cell that is empty.
_EMPTY_CELLS = {"nan", "none", "null", "<na>", "na", "n/a", "nat", "#n/a"}

_Row = tuple[str, dict[str, Any]]


def is_list(location: Location, head: bytes) -> bool:
    """Whether a file that is not named as a video is a list of videos, by its name and its first
    bytes; what is told by neither is taken for a video.

    Raises:
        UsageError: it is neither; the message says what it is.
    """
    name = location.name.lower()
    if name.endswith(LIST_EXTENSIONS) or head[:4] == b"PAR1":
        return True
    for extension, words in _FOREIGN.items():
        if name.endswith(extension):
            raise UsageError(f"{location.uri} is {words}")
    if head[:2] in (_GZIP, *_UTF_16):
        return True
    other = other_format(head)
    if other not in (None, TEXT):
        raise UsageError(f"{location.uri} is {other}, and neither a video nor a list of videos")
    return other == TEXT


def list_videos(location: Location, unread: dict[str, None]) -> Iterator[Video]:
    """Videos of a list in a file; relative addresses are taken from the file's own folder.

    Args:
        location: the file.
        unread: takes the names of columns that are not read, as soon as they are known.

    Raises:
        UsageError: the list cannot be read, or a row is wrong; the message names the row.
    """
    return _videos(location, _file_rows(location, unread), posixpath.dirname(location.uri))


def parquet_videos(
    folder: Location, files: Iterable[Location], unread: dict[str, None]
) -> Iterator[Video]:
    """Videos of a list in several Parquet files; relative addresses are taken from the folder.

    Args:
        folder: that holds them.
        files: the files.
        unread: takes the names of columns that are not read, as soon as they are known.

    Raises:
        UsageError: a file cannot be read, or a row is wrong; the message names file and row.
    """
    for file in files:
        yield from _videos(file, _parquet_rows(file, unread), folder.uri)


def _videos(location: Location, rows: Iterator[_Row], base: str) -> Iterator[Video]:
    with _said(location):
        for place, row in rows:
            try:
                yield _video(row, base)
            except ValueError as error:
                raise UsageError(f"{location.uri}, {place}: {error}") from None


@contextmanager
def _said(location: Location) -> Iterator[None]:
    """Says of what cannot be read where that is, in one line."""
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


@dataclass(frozen=True)
class _Look:
    """What the start of a text file shows: its encoding, whether it is packed, its first lines."""

    encoding: str
    packed: bool
    lines: list[str]

    @property
    def first(self) -> str:
        """The first line that is not empty."""
        return next(line for line in self.lines if line.strip())


def _file_rows(location: Location, unread: dict[str, None]) -> Iterator[_Row]:
    head = location.read_head(_HEAD_BYTES)
    name = location.name.lower().removesuffix(".gz")
    if head[:4] == b"PAR1" or name.endswith(".parquet"):
        yield from _parquet_rows(location, unread)
        return
    look = _look(head)
    with _opened(location, look) as text:
        if _JSON_LIST.match(look.first):
            yield from _json_rows(_json_items(text), unread)
        elif _is_object(look.first) or name.endswith((".jsonl", ".ndjson")):
            yield from _json_rows(_json_lines(text), unread)
        elif _JSON_OBJECT.match(look.first):
            raise NotAListError(f"it looks like {json_kind(_document(text))}")
        else:
            written = text_format(location.name, look.lines)
            unread.update(dict.fromkeys(written.columns.unread if written.columns else ()))
            for number, row in written.rows(text):
                yield f"line {number}", row


def _look(head: bytes) -> _Look:
    """Raises NotAListError for what is no text, or an empty one."""
    packed = head[:2] == _GZIP
    if packed:
        head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, _HEAD_BYTES)
    encoding = "utf-16" if head[:2] in _UTF_16 else "utf-8-sig"
    other = None if encoding == "utf-16" else other_format(head) or video_format(head)
    if other not in (None, TEXT):
        raise NotAListError(f"it is {other}")
    start = codecs.getincrementaldecoder(encoding)().decode(head)
    lines = _LINE_END.split(start)
    if not start.strip():
        raise NotAListError("it is empty")
    if "\0" in start:
        raise NotAListError("it is no text")
    # The last line may go on behind what was read.
    whole = lines[:-1] if len(head) >= _HEAD_BYTES and any(map(str.strip, lines[:-1])) else lines
    return _Look(encoding, packed, whole)


@contextmanager
def _opened(location: Location, look: _Look) -> Iterator[io.TextIOWrapper]:
    filesystem, path = location.filesystem()
    with filesystem.open_input_stream(path, compression=None, buffer_size=_BUFFER) as stream:
        bytes_of = gzip.GzipFile(fileobj=stream) if look.packed else stream
        yield io.TextIOWrapper(bytes_of, encoding=look.encoding, newline="")


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
                raise NotAListError(f"line {number} is no JSON; it is {shown(line)}") from None


def _json_items(text: io.TextIOBase) -> Iterator[tuple[str, Any]]:
    """The items of a JSON list, one after the other, so that it need not fit into memory."""
    decoder = json.JSONDecoder()
    buffer = text.read(_CHUNK)
    at, number, size = _filled(buffer, 0) + 1, 0, _CHUNK
    while True:
        at = _filled(buffer, at)
        if buffer[at : at + 1] == "]":
            if (buffer[at + 1 :] + text.read()).strip():
                raise NotAListError("something follows the end of its JSON list")
            return
        try:
            value, end = decoder.raw_decode(buffer, at)
            end = _filled(buffer, end)
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
            raise NotAListError(f"its JSON breaks off or is damaged after {number:,} objects")
        # Twice as much each time, so that a large item is not parsed anew for every piece.
        size *= 2
        buffer, at = buffer[at:] + piece, 0


def _filled(text: str, at: int) -> int:
    """The place of the first character from `at` on that is no blank."""
    found = _BLANKS.match(text, at)
    return found.end() if found else at


def _json_rows(items: Iterable[tuple[str, Any]], unread: dict[str, None]) -> Iterator[_Row]:
    """Rows under our names; objects may name different columns."""
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
    """A JSON document, for saying what it is; an empty one where it is too large or damaged."""
    try:
        return json.loads(text.read(_LARGEST_DOCUMENT))
    except ValueError:
        return {}


def _parquet_rows(location: Location, unread: dict[str, None]) -> Iterator[_Row]:
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


def _video(row: dict[str, Any], base: str) -> Video:
    uri = _uri(row.get("uri"))
    return Video(
        video_id=_identity(row.get("video_id")) or uri,
        uri=absolute(uri, base),
        size_bytes=_size(row.get("size_bytes")),
        ground_truth=_text(row.get("label")),
        etag=_etag(row.get("etag")),
    )


def _uri(value: Any) -> str:
    if isinstance(value, dict):
        raise ValueError("the uri is an object; pandas writes rows by to_json(orient='records')")
    text = _identity(value)
    if text is None or not isinstance(value, str):
        raise ValueError("no uri" if text is None else f"the uri is {text}, which is no text")
    if carries_credentials(text):
        raise ValueError(
            "the uri carries credentials or a signature, which would stand in every table; name "
            "s3://bucket/key and let the environment give the credentials"
        )
    return text


def _identity(value: Any) -> str | None:
    """A cell that names something; None if it is empty."""
    text = _text(value)
    if text is not None and text.lower() in _EMPTY_CELLS:
        raise ValueError(f"a cell is {text!r}, which is how programs write an empty cell; fill it")
    return text


def _text(value: Any) -> str | None:
    """What a cell says; None where it is empty.

    pandas knows no empty cell among whole numbers and writes NaN and floats instead, so 3.0 is 3.
    """
    if value is None or isinstance(value, str):
        return (value and value.strip()) or None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if value.is_integer():
            return str(int(value))
    if isinstance(value, list | dict):
        raise ValueError(f"a cell holds {shown(str(value))}, where one value is expected")
    return str(value)


def _size(value: Any) -> int | None:
    text = _text(value)
    if text is None:
        return None
    try:
        size = float(text)  # "10.0" is how pandas writes a whole number to CSV
    except ValueError:
        size = -1.0
    if not (size >= 0 and size.is_integer()):
        raise ValueError(f"size_bytes must be a whole number of bytes; got {text!r}")
    return int(size)


def _etag(value: Any) -> str | None:
    """In its quotes, as storage gives it, so that the two can be compared."""
    text = _text(value)
    return text if text is None or text.endswith('"') else f'"{text}"'
