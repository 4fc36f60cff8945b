"""Reads a run once and writes its report beside its tables, or elsewhere."""

from __future__ import annotations

import json

from pipeline.run_directory import RunDirectory
from pipeline.run_report.contents import contents
from pipeline.run_report.page import page
from pipeline.storage import Location

GALLERY = 3


def write_run_report(
    run: RunDirectory, *, gallery: int = GALLERY, out: Location | None = None
) -> None:
    """Writes report.html and report.json anew.

    Args:
        run: a run with its tables.
        gallery: how many videos to show with what the model looked at, 0 for none.
        out: the folder to write to; None for the run's own.

    Raises:
        UsageError: run.json is not one of this program.
        OSError, pa.ArrowException: a table cannot be read, or nothing be written there.
    """
    figures = contents(run)
    folder = out or run.root
    # NaN is no JSON: it would make the file unreadable to others.
    text = json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False)
    folder.child("report.json").write_bytes(text.encode() + b"\n")
    folder.child("report.html").write_bytes(page(figures).encode())
