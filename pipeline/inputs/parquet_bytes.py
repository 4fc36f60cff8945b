"""Parquet tables that hold videos: a column of bytes, as Hugging Face's datasets writes it.

A row becomes a part of its file (`workers.io.parts`). Of the column of bytes only the lengths are
read, and where the column is compressed nothing at all.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.inputs.list_columns import OURS, Columns, columns_of, folded
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.list_row import NotAListError, Row
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import parquet_file
from sta.transport.object_address import is_remote
from workers.io.fetching import file_etag, open_source
from workers.io.lance_part import is_blob
from workers.io.parquet_cells import ColumnChunk, Pages
from workers.io.parquet_headers import Read
from workers.io.parquet_part import ParquetCell
from workers.io.parts import ByteRange
from workers.io.ranged import RangedObject

_NAMES = frozenset(
    {"video", "videos", "bytes", "videobytes", "content", "mp4", "webm", "mkv", "avi", "mov"}
)
_BYTES, _PATH = "bytes", "path"
_HUGGING_FACE = b"huggingface"
_URI, _OF_FILE = "uri", ("uri", "size_bytes", "etag", *OURS)
_OTHER_MEDIA = ("Image", "Audio", "Pdf")
_READERS = 32
_BLOCK_BYTES = 1 << 10  # holds the header of a page and a length

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class BytesColumn:
    """A column of bytes.

    Attributes:
        name: of the column.
        is_struct: whether it is a struct of bytes and a path, as datasets writes it.
        has_path: whether the struct has a path.
    """

    name: str
    is_struct: bool
    has_path: bool = False

    @property
    def leaf(self) -> str:
        """The path of the bytes in the file's schema."""
        return f"{self.name}.{_BYTES}" if self.is_struct else self.name

    def columns(self, schema: pa.Schema, options: ListOptions) -> Columns:
        """The columns that are read beside this one."""
        names = [name for name in schema.names if name != self.name and folded(name) != _URI]
        found = columns_of([_URI, *names], replace(options, uri_column=None))
        ours = {key: name for key, name in found.names.items() if key not in _OF_FILE}
        unread = tuple(name for name in schema.names if name not in (self.name, *ours.values()))
        return Columns(ours, unread)


def bytes_column(schema: pa.Schema, named: str | None) -> BytesColumn | None:
    """The column of a schema that holds videos; None if there is none.

    Args:
        schema: of a table.
        named: the column that the user names; None for a struct of bytes and path, or a column of
            bytes with the name of a video.

    Raises:
        NotAListError: several columns may hold the videos.
    """
    features = _features(schema)
    found = [each for each in map(_column, schema) if each is not None]
    if named is not None:
        return next((each for each in found if each.name == named), None)
    media = [
        each
        for each in found
        if features.get(each.name, {}).get("_type") not in _OTHER_MEDIA
        and (each.is_struct or folded(each.name) in _NAMES)
    ]
    if len(media) > 1:
        raise NotAListError(
            f"it has {len(media)} columns of bytes: {', '.join(each.name for each in media)}; "
            f"choose one by --uri-column"
        )
    return media[0] if media else None


def class_names(schema: pa.Schema, column: str) -> list[str]:
    """Names of the classes whose ids a column holds, as datasets writes them; empty if unknown."""
    names = _features(schema).get(column, {}).get("names")
    return [str(name) for name in names] if isinstance(names, list) else []


def bytes_rows(location: Location, column: BytesColumn, columns: Columns) -> Iterator[Row]:
    """The rows of a Parquet file.

    Their cells ``uri``, ``part``, ``size_bytes`` and ``etag`` say where the video lies, ``name`` is
    the row's name in the file. A row without bytes has its path as the uri.

    Args:
        location: the file.
        column: of the videos.
        columns: those beside it.
    """
    number = 0
    with parquet_file(location) as file:
        groups = range(file.metadata.num_row_groups)
        chunks = [ColumnChunk.of(file.metadata, group, column.leaf) for group in groups]
        paths = _paths(file, column)
        etag, places = _places(location, column, chunks)
        named = class_names(file.schema_arrow, columns.names.get("label", ""))
        for group, found in zip(groups, places, strict=True):
            wanted = list(columns.names.values())
            rows = file.read_row_group(group, columns=wanted).to_pylist() if wanted else []
            for at, part in enumerate(found):
                row = rows[at] if rows else {}
                cells = columns.of(row)
                label = cells.get("label")
                if type(label) is int and 0 <= label < len(named):
                    cells["label"] = named[label]
                if part is None and paths.of_rows and paths.of_rows[number]:
                    cells |= {"uri": paths.of_rows[number]}
                else:
                    part = part or ParquetCell(group, at, column.leaf)
                    size = part.size if isinstance(part, ByteRange) else None
                    where = {"uri": location.uri, "part": str(part), "size_bytes": size}
                    cells |= where | {"etag": etag, "name": paths.name(number)}
                number += 1
                yield Row(f"row {number}", cells, cells)


@dataclass(frozen=True)
class _Paths:
    """The paths that a column of structs has.

    Attributes:
        of_rows: a path for each row, empty where the column has none.
        are_names: whether each row has one of its own.
    """

    of_rows: list[str | None]
    are_names: bool

    def name(self, row: int) -> str:
        """The name of a row in its file: the path, or the number of the row."""
        return str(self.of_rows[row] if self.are_names else row)


def _paths(file: pq.ParquetFile, column: BytesColumn) -> _Paths:
    if not column.has_path:
        return _Paths([], False)
    structs = file.read(columns=[f"{column.name}.{_PATH}"])[column.name]
    found = pc.struct_field(structs, [_PATH]).to_pylist()
    return _Paths(found, bool(found) and None not in found and len(set(found)) == len(found))


_Place = ByteRange | ParquetCell | None


def _places(
    location: Location, column: BytesColumn, chunks: list[ColumnChunk]
) -> tuple[str | None, Iterator[list[_Place]]]:
    """The file's ETag, and for each row group where its videos lie; None for a null."""
    uri = location.uri
    with open_source(uri, ranged=True) as source:
        etag = source.etag or file_etag(source.content)

    def places(item: tuple[int, ColumnChunk]) -> list[_Place]:
        group, chunk = item
        with _reading(uri, etag) as read:
            return list(_group_places(read, chunk, group, column.leaf))

    if not is_remote(uri):
        return etag, map(places, enumerate(chunks))
    return etag, _ahead(places, enumerate(chunks))


def _group_places(read: Read, chunk: ColumnChunk, group: int, leaf: str) -> Iterator[_Place]:
    if chunk.codec is not None and chunk.whole:
        yield from (ParquetCell(group, row, leaf) for row in range(chunk.rows))
        return
    pages = Pages.of(read, chunk)
    for first, page in pages.data:
        cells = pages.cells(read, first, page)
        for row, span in enumerate(cells.spans, start=first):
            if span is None:
                yield None
            elif cells.data is None:
                yield ByteRange(*span)
            else:
                yield ParquetCell(group, row, leaf)


@contextmanager
def _reading(uri: str, etag: str | None) -> Iterator[Read]:
    if not is_remote(uri):
        with open_source(uri) as source:
            yield source.read_at
        return
    content = RangedObject(uri, etag=etag, block_bytes=_BLOCK_BYTES)

    def read(offset: int, count: int) -> bytes:
        data = bytearray()
        while piece := content.read_at(offset + len(data), count - len(data)):
            data += piece
        if content.failure is not None:
            raise content.failure
        return bytes(data)

    yield read


def _ahead(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Results in the order of the items, a few of which are worked at together."""
    waiting: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="row-groups")
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * _READERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _column(field: pa.Field) -> BytesColumn | None:
    """The column that a field is, if it holds bytes."""
    if pa.types.is_struct(field.type):
        parts = {part.name: part.type for part in field.type}
        if _BYTES in parts and _is_bytes(parts[_BYTES]):
            return BytesColumn(field.name, True, has_path=_PATH in parts)
        return None
    holds = _is_bytes(field.type) or is_blob(field)
    return BytesColumn(field.name, False) if holds else None


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """What datasets says of the columns."""
    try:
        told = json.loads((schema.metadata or {}).get(_HUGGING_FACE, b"{}"))
        features = told["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    if not isinstance(features, dict):
        return {}
    return {name: each for name, each in features.items() if isinstance(each, dict)}
