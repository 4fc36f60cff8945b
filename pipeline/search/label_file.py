"""The file in which suggested videos get their labels, and videos that have labels already."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping

from pipeline.heads.label_list import read_label_list
from pipeline.heads.left_out import LeftOut
from pipeline.inputs.list_options import ListOptions
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
    """The ids and uris of the videos that have a label in a list, as jobs/train_head.py reads it.

    Args:
        file: with ids or uris, and labels; rows without a label are left out.

    Raises:
        UsageError: there is no such file, or it is no list of videos.
    """
    rows = read_label_list(file, ListOptions(), LeftOut())
    return {name for row in rows if row.labels for name in (row.video_id, row.uri) if name}
