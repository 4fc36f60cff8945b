"""The files of a benchmark's report."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.lab.benchmark.plot import draw
from pipeline.lab.benchmark.report import Report


def save(report: Report, folder: Path) -> list[Path]:
    """Writes PART.json and, where matplotlib is installed, PART.svg; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.part}.json"
    path.write_text(json.dumps(report.content(), indent=2) + "\n")
    plot = draw(report, folder / f"{report.part}.svg")
    return [path, plot] if plot else [path]
