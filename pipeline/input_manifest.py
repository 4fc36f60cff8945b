"""Manifests that users give: Parquet, CSV or JSON lines with an address per row."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import posixpath
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UsageError
from pipeline.s3_filesystem import storage_reason
from pipeline.storage import Location, carries_credentials
from pipeline.video import Video

MANIFEST_EXTENSIONS = (".parquet", ".csv", ".jsonl")

_COLUMNS = ("uri", "video_id", "label", "size_bytes", "etag")
_BATCH_ROWS = 10_000


def manifest_videos(location: Location) -> Iterator[Video]:
    """Videos of a manifest; relative addresses are taken from the manifest's own folder.

    Raises:
        UsageError: the manifest cannot be read, or a row is wrong; the message names the row.
    """
    base = posixpath.dirname(location.uri)
    for number, row in enumerate(_rows(location), start=1):
        try:
            yield _video(row, base)
        except ValueError as error:
            raise UsageError(f"{location.uri}, row {number}: {error}") from None


def _video(row: dict[str, Any], base: str) -> Video:
    uri = row.get("uri")
    if not isinstance(uri, str) or not uri:
        raise ValueError("no uri")
    if carries_credentials(uri):
        raise ValueError(
            "the uri carries credentials or a signature, which would stand in every table; name "
            "s3://bucket/key and let the environment give the credentials"
        )
    absolute = uri if "://" in uri or os.path.isabs(uri) else posixpath.join(base, uri)
    return Video(
        video_id=_text(row.get("video_id")) or uri,
        uri=absolute,
        size_bytes=_size(row.get("size_bytes")),
        label=_text(row.get("label")),
        etag=_etag(row.get("etag")),
    )


def _text(value: Any) -> str | None:
    """What a cell says; None where it is empty.

    pandas knows no empty cell among whole numbers and writes NaN and floats instead, so 3.0 is 3.
    """
    if value is None or value == "":
        return None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if value.is_integer():
            return str(int(value))
    return str(value)


def _size(value: Any) -> int | None:
    text = _text(value)
    if text is None:
        return None
    try:
        size = float(text)  # "10.0" is how pandas writes a whole number to CSV
    except ValueError:
        size = -1.0
    if size < 0 or not size.is_integer():
        raise ValueError(f"size_bytes must be a whole number of bytes; got {text!r}")
    return int(size)


def _etag(value: Any) -> str | None:
    """In its quotes, as storage gives it, so that the two can be compared."""
    text = _text(value)
    return text if text is None or text.endswith('"') else f'"{text}"'


def _rows(location: Location) -> Iterator[dict[str, Any]]:
    filesystem, path = location.filesystem()
    try:
        if path.lower().endswith(".parquet"):
            with pq.ParquetFile(path, filesystem=filesystem) as file:
                _need_uri(file.schema_arrow.names, location)
                wanted = [name for name in _COLUMNS if name in file.schema_arrow.names]
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
                    yield from batch.to_pylist()
            return
        with filesystem.open_input_stream(path) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            if path.lower().endswith(".csv"):
                rows = csv.DictReader(text)
                _need_uri(rows.fieldnames or [], location)
                yield from rows
                return
            for line in text:
                if line.strip():
                    row = json.loads(line)
                    yield row if isinstance(row, dict) else {}
    except UsageError:
        raise
    except FileNotFoundError:
        raise UsageError(f"there is no {location.uri}") from None
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        reason = storage_reason(error)
        raise UsageError(f"cannot read the manifest {location.uri}: {reason}") from error


def _need_uri(names: Any, location: Location) -> None:
    if "uri" not in names:
        raise UsageError(
            f"{location.uri} has no column uri; it has {', '.join(map(str, names)) or 'none'}"
        )
