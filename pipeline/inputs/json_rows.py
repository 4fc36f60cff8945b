"""Rows of JSON lists: a list of objects, or an object in each line."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pipeline.inputs.list_columns import (
    DATABASE,
    MOST_NAMES,
    Columns,
    columns_of,
    missing_column,
    note_unread,
)
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.list_row import NotAListError, Row, bad_row, why_not_utf8

LONGEST = 1 << 23
"""Characters of a line, and of an object of a JSON list: no row of a list is as long."""

_CHUNK = 1 << 16
_LARGEST_DOCUMENT = 1 << 26
_BLANKS = re.compile(r"\s*")
_JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(/))")
# Deeply nested text ends Python's parser by its recursion limit.
_NOT_JSON = (ValueError, RecursionError)
# Objects of a JSON list may leave these out.
_MAY_LACK = ("label_column", "id_column")


def is_row(line: str) -> bool:
    """Whether a line is one whole JSON object, as in a file of JSON lines, and not ActivityNet's
    whole file.
    """
    try:
        loaded = json.loads(line)
    except _NOT_JSON:
        return False
    return isinstance(loaded, dict) and DATABASE not in loaded


class JsonItem(NamedTuple):
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


def json_lines(text: Iterable[str]) -> Iterator[JsonItem]:
    """Yields the value of each line that is not empty, or why it cannot be read."""
    for number, line in enumerate(text, start=1):
        if line.strip():
            value, problem = None, why_not_utf8(line)
            if not problem:
                try:
                    value = json.loads(line)
                except _NOT_JSON:
                    problem = "it is not JSON"
            said = _JSON_ESCAPE.sub(_unescaped, line) if problem else value
            yield JsonItem(f"line {number}", value, said, problem)


def _unescaped(found: re.Match[str]) -> str:
    """A letter that JSON may escape, which would hide an address with a key from `shown`."""
    return chr(int(found[1], 16)) if found[1] else found[2]


def json_items(text: io.TextIOBase) -> Iterator[JsonItem]:
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
            yield JsonItem(f"object {number}", value, value)
            at = end + (buffer[end] == ",")
            size = _CHUNK
            continue
        if len(buffer) - at > LONGEST:
            raise NotAListError(
                f"its object {number + 1:,} is damaged or has more than {LONGEST:,} characters"
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


def json_rows(
    items: Iterable[JsonItem], options: ListOptions, unread: dict[str, None]
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
                if len(columns) < MOST_NAMES:
                    columns[names] = found
                    seen.update(names[:MOST_NAMES])
                wanted = (getattr(options, flag) for flag in _MAY_LACK)
                seen.update(name for name in wanted if name in item.value)
                if not isinstance(found, str):
                    note_unread(unread, found.unread)
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


def json_document(text: io.TextIOBase) -> dict[str, Any]:
    """The JSON object of a whole file; empty if it is too large or damaged."""
    try:
        document = json.loads(text.read(_LARGEST_DOCUMENT))
    except _NOT_JSON:
        return {}
    return document if isinstance(document, dict) else {}
