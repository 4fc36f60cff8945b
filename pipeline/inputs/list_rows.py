"""Rows of a list of videos: a Parquet, CSV, TSV, JSON, JSON lines or text file, gzipped or not.

`user_manifest.py` makes videos of the rows.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.inputs.dataset_lists import activitynet_rows
from pipeline.inputs.list_columns import DATABASE, Columns, columns_of, missing_column
from pipeline.inputs.list_format import json_kind, text_format
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.list_row import NotAListError, Row, bad_row, why_not_utf8
from pipeline.inputs.parquet_bytes import bytes_column, bytes_rows
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import parquet_file
from pipeline.storage.storage_errors import storage_reason
from workers.decoding.sniffing import TEXT, other_format, video_format
from workers.failures import UnitFailure

LIST_EXTENSIONS = (
    ".parquet", ".csv", ".tsv", ".txt", ".lst", ".list", ".jsonl", ".ndjson", ".json",
    ".csv.gz", ".tsv.gz", ".txt.gz", ".jsonl.gz", ".ndjson.gz", ".json.gz",
)  # fmt: skip
"""Extensions of lists. A file with another name is a list if its content is one."""

# Formats that hold tables or videos and cannot be read, by extension.
_UNSUPPORTED = {
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
# Characters of a line, and of an object of a JSON list: no row of a list is as long.
_LONGEST = 1 << 23
# Columns that are named as not read, and kinds of objects that are kept.
_MOST_NAMES = 100
_GZIP = b"\x1f\x8b"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_JSON_LIST = re.compile(r'\s*\[\s*([\[{"\]]|$)')
_BLANKS = re.compile(r"\s*")
_JSON_OBJECT = re.compile(r'\s*\{\s*(["}]|$)')
_JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(/))")
# Deeply nested text ends Python's parser by its recursion limit.
_NOT_JSON = (ValueError, RecursionError)
# Objects of a JSON list may leave these out.
_MAY_LACK = ("label_column", "id_column")
_LINE_END = re.compile(r"\r\n|\r|\n")


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
            yield from _json_rows(_json_items(text), options, unread)
        elif _is_row(start.first) or name.endswith((".jsonl", ".ndjson")):
            yield from _json_rows(_json_lines(_lines(text)), options, unread)
        elif _JSON_OBJECT.match(start.first):
            document = _document(text)
            if options.video_root is None or not isinstance(document.get(DATABASE), dict):
                raise NotAListError(f"this looks like {json_kind(document)}")
            yield from activitynet_rows(document[DATABASE])
        else:
            written = text_format(location.name, start.lines, options)
            _note(unread, written.columns.unread if written.columns else ())
            yield from written.rows(_lines(text))


def _lines(text: io.TextIOBase) -> Iterator[str]:
    """The lines of a text, none of which takes much memory."""
    for number, line in enumerate(iter(lambda: text.readline(_LONGEST), ""), start=1):
        if len(line) == _LONGEST and line[-1] not in "\r\n":
            raise NotAListError(f"line {number} has more than {_LONGEST:,} characters")
        yield line


def _note(unread: dict[str, None], names: Iterable[str]) -> None:
    """Notes columns that are not read, up to a bound: each object can have others."""
    for name in names:
        if len(unread) < _MOST_NAMES:
            unread.setdefault(name)


def _start(head: bytes) -> _Start:
    """Raises NotAListError if the file is not text, or is empty."""
    gzipped = head[:2] == _GZIP
    if gzipped:
        head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, _HEAD_BYTES)
    encoding = "utf-16" if head[:2] in _UTF_16 else "utf-8-sig"
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


def _is_row(line: str) -> bool:
    """Whether a line is one whole JSON object, as in a file of JSON lines, and not ActivityNet's
    whole file.
    """
    try:
        loaded = json.loads(line)
    except _NOT_JSON:
        return False
    return isinstance(loaded, dict) and DATABASE not in loaded


class _Item(NamedTuple):
    """A value of a JSON file: a whole line, or an item of a list.

    Attributes:
        place: where it stands.
        value: the value.
        line: what a message shows of it.
        problem: why the line cannot be read; "" if it can.
    """

    place: str
    value: Any
    line: Any
    problem: str = ""


def _json_lines(text: Iterable[str]) -> Iterator[_Item]:
    for number, line in enumerate(text, start=1):
        if line.strip():
            value, problem = None, why_not_utf8(line)
            if not problem:
                try:
                    value = json.loads(line)
                except _NOT_JSON:
                    problem = "it is not JSON"
            said = _JSON_ESCAPE.sub(_unescaped, line) if problem else value
            yield _Item(f"line {number}", value, said, problem)


def _unescaped(found: re.Match[str]) -> str:
    """A letter that JSON may escape, which would hide an address with a key from `shown`."""
    return chr(int(found[1], 16)) if found[1] else found[2]


def _json_items(text: io.TextIOBase) -> Iterator[_Item]:
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
        except _NOT_JSON:
            end = len(buffer)
        if buffer[end : end + 1] in (",", "]"):
            number += 1
            yield _Item(f"object {number}", value, value)
            at = end + (buffer[end] == ",")
            size = _CHUNK
            continue
        if len(buffer) - at > _LONGEST:
            raise NotAListError(
                f"its object {number + 1:,} is damaged or has more than {_LONGEST:,} characters"
            )
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


def _json_rows(
    items: Iterable[_Item], options: ListOptions, unread: dict[str, None]
) -> Iterator[Row]:
    """Rows of JSON objects, which may have different columns and leave some out."""
    columns: dict[tuple[str, ...], Columns | str] = {}
    seen: set[str] = set()
    for item in items:
        problem = item.problem
        if not problem and not isinstance(item.value, dict):
            problem = 'a row is an object such as {"uri": "a.mp4"}'
        if not problem:
            names = tuple(item.value)
            found = columns.get(names)
            if found is None:
                found = _object_columns(names, options)
                if len(columns) < _MOST_NAMES:
                    columns[names] = found
                    seen.update(names[:_MOST_NAMES])
                wanted = (getattr(options, flag) for flag in _MAY_LACK)
                seen.update(name for name in wanted if name in item.value)
                if not isinstance(found, str):
                    _note(unread, found.unread)
            if not isinstance(found, str):
                yield Row(item.place, found.of(item.value), item.line)
                continue
            problem = found
        yield bad_row(item.place, item.line, problem)
    for flag in _MAY_LACK:
        name = getattr(options, flag)
        if name is not None and seen and name not in seen:
            raise missing_column(flag, options, sorted(seen))


def _object_columns(names: tuple[str, ...], options: ListOptions) -> Columns | str:
    """The columns of an object, or what is wrong with it."""
    try:
        return columns_of(names, options, may_lack=_MAY_LACK)
    except NotAListError as error:
        return str(error)


def _document(text: io.TextIOBase) -> dict[str, Any]:
    """The JSON object of a whole file; empty if it is too large or damaged."""
    try:
        document = json.loads(text.read(_LARGEST_DOCUMENT))
    except _NOT_JSON:
        return {}
    return document if isinstance(document, dict) else {}


def _parquet_rows(
    location: Location, options: ListOptions, unread: dict[str, None]
) -> Iterator[Row]:
    with parquet_file(location) as file:
        schema = file.schema_arrow
        held = bytes_column(schema, options.uri_column)
        columns = held.columns(schema, options) if held else columns_of(schema.names, options)
        _note(unread, columns.unread)
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


def check_type(ours: str, field: pa.Field) -> None:
    """Raises NotAListError for a column that does not hold one text or value per row."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or (ours == "uri" and not text):
        raise NotAListError(
            f"its column {field.name} is {field.type}; the {ours} is "
            f"{'one text' if ours == 'uri' else 'one value'} per row"
        )
