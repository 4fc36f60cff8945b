"""The error of a finished run that labeled no video."""

from __future__ import annotations

import pyarrow.compute as pc

from pipeline.errors import RunError
from pipeline.labeling.graph_runner import retryable
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.storage.parquet_files import read_parquet
from sta.text import displayed

# The most frequent reasons are named.
_REASONS = 3


def check_anything_labeled(run: RunDirectory, record: RunRecord) -> None:
    """Raises an error if no video of a finished run has a label.

    Args:
        run: a finished labeling run or sweep.
        record: its record.

    Raises:
        RunError: nothing was labeled; the message has the most frequent reasons with an example
            of each.
    """
    totals = record.finished_totals
    if totals.ok or record.has_nothing_new:
        return
    counts = totals.unit_failures
    frequent = sorted(counts, key=lambda reason: (-counts[reason], reason))
    examples = _examples(run, frequent[:_REASONS])
    reasons = [
        f"{counts[reason]:,} {reason}, for example {examples.get(reason, 'none that can be read')}"
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
    text = f"The error of every video is in {run.units.uri}. "
    if passing:
        text += (
            f"Fix the cause and run the same command with --retry-failed, which labels again what "
            f"failed as {', '.join(passing)}."
        )
        return text if len(passing) == len(counts) else f"{text} Other failures need a new OUTPUT."
    return f"{text}Fix the input and choose a new OUTPUT."


def _examples(run: RunDirectory, reasons: list[str]) -> dict[str, str]:
    """A video and its error for each of these reasons, as far as they can be read."""
    found: dict[str, str] = {}
    for file in run.units.files(".parquet"):
        columns = ["video_id", "error_type", "error"]
        rows = read_parquet(file, columns)
        for reason in [each for each in reasons if each not in found]:
            for row in rows.filter(pc.equal(rows["error_type"], reason)).slice(0, 1).to_pylist():
                found[reason] = displayed(f"{row['video_id']}: {row['error']}")
        if len(found) == len(reasons):
            break
    return found
