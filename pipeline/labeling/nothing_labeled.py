"""Ends a command with an error if its finished run could not label anything."""

from __future__ import annotations

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import RunError
from pipeline.labeling.graph_runner import retryable
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord

# Reasons that are named, the most frequent ones.
_REASONS = 3


def check_anything_labeled(run: RunDirectory, record: RunRecord) -> None:
    """Returns if at least one video of a finished run has labels.

    Args:
        run: a finished labeling run or sweep.
        record: its record.

    Raises:
        RunError: nothing was labeled; the message has the most frequent reasons with an example
            of each.
    """
    totals = record.finished_totals
    if totals.ok:
        return
    counts = totals.unit_failures
    frequent = sorted(counts, key=lambda reason: (-counts[reason], reason))
    examples = _examples(run, frequent[:_REASONS])
    reasons = [
        f"{counts[reason]:,} {reason}, such as {examples.get(reason, 'none that can be read')}"
        for reason in frequent[:_REASONS]
    ]
    if len(frequent) > _REASONS:
        reasons.append(f"{sum(counts[reason] for reason in frequent[_REASONS:]):,} others")
    raise RunError(
        f"no video could be labeled ({totals.units:,} failed): {'; '.join(reasons)}",
        advice=_advice(run, counts),
    )


def _advice(run: RunDirectory, counts: dict[str, int]) -> str:
    passing = sorted(retryable() & counts.keys())
    text = f"Each reason is in {run.units.uri}. "
    if passing:
        text += (
            f"Remove the cause and add --retry-failed to the same command, which labels what "
            f"failed as {', '.join(passing)} again"
        )
        return f"{text}." if len(passing) == len(counts) else f"{text}; else choose a new OUTPUT."
    return f"{text}Mend the input and choose a new OUTPUT."


def _examples(run: RunDirectory, reasons: list[str]) -> dict[str, str]:
    """A video and its error for each of these reasons, as far as they can be read."""
    found: dict[str, str] = {}
    for file in run.units.files(".parquet"):
        filesystem, path = file.filesystem()
        columns = ["video_id", "error_type", "error"]
        rows = pq.read_table(path, columns=columns, filesystem=filesystem, partitioning=None)
        for reason in [each for each in reasons if each not in found]:
            for row in rows.filter(pc.equal(rows["error_type"], reason)).slice(0, 1).to_pylist():
                found[reason] = f"{row['video_id']}: {row['error']}"
        if len(found) == len(reasons):
            break
    return found
