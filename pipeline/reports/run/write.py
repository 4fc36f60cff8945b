"""Writes the report of a run."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from pipeline.errors import UsageError
from pipeline.formatting import json_text
from pipeline.reports import tokens
from pipeline.reports.run.contents import contents
from pipeline.reports.run.page import page
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from sta.text import displayed

GALLERY = 3


def write_run_report(
    run: RunDirectory,
    *,
    gallery: int = GALLERY,
    out: Location | None = None,
    compare_to: str | None = None,
) -> dict[str, Any]:
    """Writes report.html and report.json anew, and returns what report.json holds.

    Args:
        run: a run with its tables.
        gallery: how many videos to show with their kept tokens, 0 for none.
        out: the folder to write to; None for the run's own.
        compare_to: OUTPUT of the reference run for drift; None for the one that run.json names.

    Raises:
        UsageError: there is no run here, it has no tables yet, or `gallery` is below 0.
        OSError, pa.ArrowException: a table cannot be read, or nothing be written there.
    """
    if gallery < 0:
        raise UsageError(f"a gallery has 0 videos or more; got {gallery}")
    run.check_labels()
    if not run.videos.files(".parquet"):
        raise UsageError(
            f"the run in {run.root.uri} has no tables yet; run its labeling command again to "
            "finish it"
        )
    figures = contents(run, compare_to=compare_to)
    folder = out or run.root
    folder.child("report.json").write_bytes(json_text(figures, indent=1).encode())
    folder.child("report.html").write_bytes(page(figures, _shown(run, gallery)).encode())
    return figures


def _shown(run: RunDirectory, count: int) -> list[Markup]:
    """The gallery, or why it could not be made."""
    if not count:
        return []
    try:
        return [item.html for item in tokens.make_gallery(run, count)]
    except Exception as error:
        # The gallery needs the videos, which may be gone or broken; the figures do not.
        said = Markup("<p>The gallery could not be made: {}</p>")
        reason = displayed(" ".join(str(error).split())) or type(error).__name__
        return [said.format(reason)]
