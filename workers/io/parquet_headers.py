"""Headers of Parquet pages, which pyarrow does not show: where each page of a column lies.

A header is a Thrift structure in the compact protocol, as parquet-format's parquet.thrift and
Thrift's thrift-compact-protocol.md describe them. Everything here raises ValueError for bytes that
are no header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

Read = Callable[[int, int], bytes]
"""Reads (offset, count) of a file: fewer bytes only at its end."""

PLAIN, PLAIN_DICTIONARY, RLE_DICTIONARY = 0, 2, 8

_FIRST_READ = 256  # holds a header, and the length of the first value in its page
_LONGEST_HEADER = 1 << 20
_DEEPEST = 8
_MOST_VALUES = 1 << 24  # of one page: runs let a few bytes claim any number

Struct = dict[int, Any]
"""The fields of a Thrift structure by their ids."""


class PageKind(IntEnum):
    """The values of PageType."""

    data = 0
    index = 1
    dictionary = 2
    data_v2 = 3


_DETAILS = {PageKind.data: 5, PageKind.index: 6, PageKind.dictionary: 7, PageKind.data_v2: 8}


@dataclass(frozen=True)
class Page:
    """A page of a column.

    Attributes:
        kind: of the page.
        offset: where its content begins in the file, behind the header.
        size: bytes of the content in the file.
        raw_size: bytes of the content without compression.
        values: number of values, nulls included.
        encoding: of the values.
        levels_size: bytes of the levels, which a page of version 2 never compresses.
        compressed: whether the codec of the column was applied.
    """

    kind: PageKind
    offset: int
    size: int
    raw_size: int
    values: int
    encoding: int
    levels_size: int = 0
    compressed: bool = True

    @property
    def end(self) -> int:
        """Where the next page begins."""
        return self.offset + self.size


def pages(read: Read, start: int, end: int) -> Iterator[Page]:
    """The pages of a column chunk, which is the bytes [start, end) of a file; none is read."""
    while start < end:
        page = _page(read, start)
        if page.end > end:
            raise ValueError("a page reaches beyond its column")
        yield page
        start = page.end


def _page(read: Read, at: int) -> Page:
    count = _FIRST_READ
    while True:
        data = read(at, count)
        try:
            fields, length = read_struct(data, 0)
            break
        except IndexError:
            if len(data) < count or count >= _LONGEST_HEADER:
                raise ValueError("a page has no header") from None
            count *= 8
    kind = PageKind(_integer(fields, 1))
    detail = fields.get(_DETAILS[kind])
    found: Struct = detail if isinstance(detail, dict) else {}
    if not found and kind is not PageKind.index:
        raise ValueError("a page says nothing of its values")
    version_2 = kind is PageKind.data_v2
    page = Page(
        kind,
        offset=at + length,
        size=_integer(fields, 3),
        raw_size=_integer(fields, 2),
        values=_integer(found, 1) if found else 0,
        encoding=_integer(found, 4 if version_2 else 2) if found else PLAIN,
        levels_size=_integer(found, 5) + _integer(found, 6) if version_2 else 0,
        compressed=found.get(7) is not False if version_2 else True,
    )
    if page.levels_size > min(page.size, page.raw_size):
        raise ValueError("the levels of a page are longer than the page")
    if page.values > _MOST_VALUES:
        raise ValueError(f"a page claims {page.values:,} values")
    return page


def _integer(fields: Struct, number: int) -> int:
    value = fields.get(number)
    if type(value) is not int or value < 0:
        raise ValueError("a field of a page's header is missing or negative")
    return value


def read_struct(data: bytes, at: int, depth: int = 0) -> tuple[Struct, int]:
    """The structure that begins at ``at``, and where it ends; IndexError where ``data`` ends."""
    if depth > _DEEPEST:
        raise ValueError("structures are nested too deeply")
    fields: Struct = {}
    number = 0
    while data[at]:
        delta, kind = data[at] >> 4, data[at] & 15
        at += 1
        if delta:
            number += delta
        else:
            number, at = _zigzag(data, at)
        fields[number], at = _value(kind, data, at, depth)
    return fields, at + 1


def _value(kind: int, data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2):  # true, false
        return kind == 1, at
    if kind == 3:
        return data[at], at + 1
    if kind in (4, 5, 6):  # 16, 32 and 64 bits
        return _zigzag(data, at)
    if kind == 7:
        return _taken(data, at, 8)
    if kind == 8:
        length, at = _varint(data, at)
        return _taken(data, at, length)
    if kind in (9, 10):
        return _list(data, at, depth)
    if kind == 12:
        return read_struct(data, at, depth + 1)
    raise ValueError("a field has an unknown type")


def _list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    count, kind = data[at] >> 4, data[at] & 15
    at += 1
    if count == 15:
        count, at = _varint(data, at)
    values = []
    for _ in range(count):
        # A list holds a byte for each truth value; a structure tells it by the field's type.
        value, at = (data[at] == 1, at + 1) if kind in (1, 2) else _value(kind, data, at, depth + 1)
        values.append(value)
    return values, at


def _taken(data: bytes, at: int, count: int) -> tuple[bytes, int]:
    if at + count > len(data):
        raise IndexError
    return data[at : at + count], at + count


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
