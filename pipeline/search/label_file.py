"""The file in which suggested videos get their labels, and videos that have labels already."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping

from pipeline.errors import UsageError
from pipeline.storage.location import Location

_COLUMNS = ("video_id", "uri", "predicted", "score", "reason", "label")


def write_label_file(file: Location, rows: Iterable[Mapping[str, object]]) -> None:
    """Writes a CSV with an empty column `label`, which jobs/train_head.py reads once it is filled.

    Args:
        file: local or s3://.
        rows: with video_id, uri, predicted, score and reason each.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    file.write_bytes(stream.getvalue().encode())


def read_labeled(file: Location) -> set[str]:
    """The ids and uris of the videos that have a label in a CSV.

    Args:
        file: with a column video_id or uri, and label; rows without a label are left out.

    Raises:
        UsageError: there is no such file, or it has no such columns.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {file.uri}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file.uri} is no CSV: {error}") from error
    reader = csv.DictReader(io.StringIO(text))
    names = reader.fieldnames or []
    if "label" not in names or not {"video_id", "uri"} & set(names):
        raise UsageError(
            f"{file.uri} needs a column label and a column video_id or uri; it has "
            f"{', '.join(names) or 'none'}"
        )
    return {
        value
        for row in reader
        if (row["label"] or "").strip()
        for name in ("video_id", "uri")
        if (value := row.get(name))
    }
