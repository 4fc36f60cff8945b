"""Videos of a list that a user gives: the cells of its rows are checked and converted."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.errors import UsageError
from pipeline.inputs.list_format import shown
from pipeline.inputs.list_rows import Row, file_rows, parquet_rows
from pipeline.inputs.video import Video
from pipeline.storage.addresses import absolute
from pipeline.storage.location import Location
from sta.text import holds_secret, redacted

# How pandas, SQL and Spark write an empty cell.
_EMPTY_CELLS = {"nan", "none", "null", "<na>", "na", "n/a", "nat", "#n/a"}


def list_videos(location: Location, unread: dict[str, None]) -> Iterator[Video]:
    """Videos of a list in a file; relative addresses start at the file's folder.

    Args:
        location: the file.
        unread: receives the names of columns that are not read, as soon as they are known.

    Raises:
        UsageError: the list cannot be read, or a row is wrong; the message names the row.
    """
    return _videos(location, file_rows(location, unread), posixpath.dirname(location.uri))


def parquet_videos(
    folder: Location, files: Iterable[Location], unread: dict[str, None]
) -> Iterator[Video]:
    """Videos of a list in several Parquet files; relative addresses start at the folder.

    Args:
        folder: the folder of the files.
        files: the files.
        unread: receives the names of columns that are not read, as soon as they are known.

    Raises:
        UsageError: a file cannot be read, or a row is wrong; the message names file and row.
    """
    for file in files:
        yield from _videos(file, parquet_rows(file, unread), folder.uri)


def _videos(location: Location, rows: Iterator[Row], base: str) -> Iterator[Video]:
    for place, row in rows:
        try:
            video = _video(row, base)
        except ValueError as error:
            raise UsageError(f"{location.uri}, {place}: {error}") from None
        yield video


def _video(row: dict[str, Any], base: str) -> Video:
    uri = _uri(row.get("uri"))
    _refuse_secrets(row)
    label = _text(row.get("label"))
    return Video(
        video_id=_identity(row.get("video_id")) or uri,
        uri=absolute(uri, base),
        size_bytes=_size(row.get("size_bytes")),
        ground_truth=None if label is None else redacted(label),
        etag=_etag(row.get("etag")),
    )


def _uri(value: Any) -> str:
    if isinstance(value, dict):
        raise ValueError("the uri is an object; pandas writes rows by to_json(orient='records')")
    text = _identity(value)
    if text is None or not isinstance(value, str):
        raise ValueError("no uri" if text is None else f"the uri is {text}, which is not text")
    return text


def _refuse_secrets(row: dict[str, Any]) -> None:
    """Refuses cells that are used as they are: without its signature, an address is another one."""
    for name in ("uri", "video_id", "etag"):
        if holds_secret(str(row.get(name))):
            raise ValueError(
                f"the {name} contains credentials or a signature, which would be written to every "
                f"table; name s3://bucket/key and set the credentials in the environment"
            )


def _identity(value: Any) -> str | None:
    """A cell that names something; None if it is empty."""
    text = _text(value)
    if text is not None and text.lower() in _EMPTY_CELLS:
        raise ValueError(
            f"a cell is {text!r}, which is how programs write an empty cell; fill the cell in"
        )
    return text


def _text(value: Any) -> str | None:
    """A cell as text; None if it is empty.

    pandas stores a column of integers with empty cells as floats with NaN, so 3.0 is 3.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return _unicode(value).strip() or None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if value.is_integer():
            return str(int(value))
    if isinstance(value, list | dict):
        raise ValueError(f"a cell is {shown(str(value))}; write one value")
    return str(value)


def _unicode(text: str) -> str:
    """The text; JSON can hold what is none: half of a surrogate pair, and no path holds a NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"a cell is {shown(text)}, which is not Unicode") from None
    if "\0" in text:
        raise ValueError(f"a cell is {shown(text)}, which holds a NUL character")
    return text


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
    """The ETag in quotes, as object storage gives it, so that the two can be compared."""
    text = _text(value)
    return text if text is None or text.endswith('"') else f'"{text}"'
