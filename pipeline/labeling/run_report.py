"""The report that a labeling run draws at its end, which no fault keeps from ending."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.execution.metrics import set_drift
from pipeline.job_commands import job_command
from pipeline.messages import best_effort
from pipeline.run.run_directory import RunDirectory


def draw_report(run: RunDirectory, gallery: int) -> None:
    """Draws the report and sets the gauges of drift; never raises."""

    def draw() -> Mapping[str, Any]:
        # Drawing takes some hundred MB of libraries that nothing before needs.
        from pipeline.reports.run import write_run_report

        return write_run_report(run, gallery=gallery)

    figures = best_effort(
        "The report",
        draw,
        again=f"The labels are complete; {job_command('report', run.root.uri)} tries again.",
    )
    if figures is not None and figures["drift"] is not None:
        set_drift(run.root.name, drift_gauges(figures["drift"]))


def drift_gauges(drift: Mapping[str, Any]) -> dict[str, float | None]:
    """Values of the gauges by name, from the entry `drift` of report.json."""
    population, labels = drift["population"] or {}, drift["labels"] or {}
    distance = labels.get("distance", {})
    return {
        "drift_told_apart": population.get("share"),
        "drift_told_apart_low": population.get("low"),
        "drift_labels_moved": distance.get("share"),
        "drift_labels_moved_low": distance.get("low"),
        "drift_classes_changed": labels.get("changed"),
    }
