"""The summary that a labeling job prints at its end."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.formatting import clock, counted, digits, quantity, short_names
from pipeline.inputs.ground_truth import not_among
from pipeline.inputs.left_out import left_out_text
from pipeline.job_commands import short_path
from pipeline.labeling.next_steps import OtherRun, next_steps, open_command
from pipeline.reports.early_exit.budget import budget_lines
from pipeline.reports.run.drift_section import drift_line
from pipeline.reports.run.unpruned_sample import shadow_lines, unpruned_agreement
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.run.totals import Totals
from pipeline.run.view_savings import ViewSavings
from pipeline.storage.parquet_files import parquet_file
from sta.text import displayed
from workers.decoding.types import DECODE_MODES

_SHOWN = 5
_KINDS = 10
_ID_WIDTH = 32
_WIDTH = 80
_INDENT = " " * len("Accuracy:  ")


def summary(
    task: str,
    run: RunDirectory,
    record: RunRecord,
    *,
    other: OtherRun,
    before: int | None = None,
) -> str:
    """A summary of a finished run, from its run.json and its tables, with next steps.

    Args:
        task: "k400" or "ssv2".
        run: the finished run.
        record: of the run.
        other: the run that it is best compared with.
        before: units that had a row when this command began; None if all had.
    """
    if record.has_nothing_new:
        return "\n".join(_nothing_new(run, record))
    totals = record.finished_totals
    lines = [*_demo(record), _counts(totals), *_since(record), *_resumed(record, before)]
    for reason, count in sorted(totals.failures.items(), key=lambda item: -item[1]):
        video, error = totals.examples[reason][0]
        example = displayed(f"{video}: {error}")
        lines.append(f"  {reason:<18}{count:>7,}  for example {example}")
    if totals.damaged:
        lines.append(
            f"  {totals.damaged:,} labeled videos are damaged; column lost_frames counts the "
            f"missing frames"
        )
    lines.append(_model(record))
    lines += _accuracy(totals)
    lines += _wrapped(_flops(record))
    lines += _view_savings(record)
    lines += budget_lines(run, record)
    lines += shadow_lines(record, unpruned_agreement(run, record))
    lines += [*_drift(run), *_time(record), *_cost(run)]
    stages = totals.stages
    if stages and stages["bottleneck"]:
        lines += _wrapped(f"Bottleneck: {stages['bottleneck']}")
    skipped = record.listing.skipped
    if skipped:
        kinds = left_out_text(skipped, record.listing.names, most=_KINDS, rows=record.listing.rows)
        lines += _wrapped(f"Skipped:   {kinds}")
    rows = first_labeled(run, _SHOWN)
    lines += [*_examples(rows, totals.ok), f"Output:    {short_path(run.root.uri)}"]
    lines += [*_page(run), f"Read with: {open_command(run, _columns(totals))}"]
    lines += next_steps(task, run, record, other, rows[0]["video_id"] if rows else None)
    return "\n".join(lines)


def first_labeled(run: RunDirectory, count: int) -> list[dict[str, Any]]:
    """The first `count` labeled videos, sorted by id, so that every attempt shows the same ones."""
    names = ["video_id", "status", "label", "score", "ground_truth", "ground_truth_id"]
    first = None
    for file in run.videos.files(".parquet"):
        with parquet_file(file) as opened:
            for batch in opened.iter_batches(columns=names):
                part = pa.Table.from_batches([batch])
                part = part.filter(pc.equal(part["status"], "ok"))
                known = part if first is None else pa.concat_tables([first, part])
                first = known.sort_by("video_id").slice(0, count)
    return first.to_pylist() if first is not None else []


def _demo(record: RunRecord) -> list[str]:
    """A note that the demo model is not a real one."""
    if record.model.checkpoint != "demo":
        return []
    return ["Demo:      a small model that was trained on generated videos, not on real ones"]


def _counts(totals: Totals) -> str:
    failed = totals.videos - totals.ok
    length = clock(totals.video_seconds)
    text = f"Videos:    {totals.ok:,} labeled ({length} of video), {failed:,} failed"
    if totals.units > totals.videos:
        text += f"; {sum(totals.unit_failures.values()):,} of {totals.units:,} segments failed"
    return text


def _since(record: RunRecord) -> list[str]:
    """How many videos earlier runs had labeled."""
    if not record.identity.since:
        return []
    return _wrapped(f"Since:     {_labeled_before(record)}, left out")


def _labeled_before(record: RunRecord) -> str:
    count = counted(record.listing.labeled_before, "videos")
    first, *more = record.identity.since
    others = f" and in {len(more):,} more of --since" if more else ""
    return f"{count} labeled in {first}{others} and not changed since"


def _nothing_new(run: RunDirectory, record: RunRecord) -> list[str]:
    """What stands in place of a summary where all videos were left out."""
    text = (
        f"Nothing new in {record.identity.input}: {_labeled_before(record)}. This run is finished "
        f"and has no rows."
    )
    return [
        *textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False),
        f"Output:    {short_path(run.root.uri)}",
        *_page(run),
    ]


def _resumed(record: RunRecord, before: int | None) -> list[str]:
    """How much of a resumed run this command did."""
    if not before:
        return []
    units = record.finished_totals.units
    what = record.identity.units_are
    now = f"this command did the other {units - before:,}" if before < units else "none was left"
    return [f"Resumed:   {before:,} of {units:,} {what} were already done; {now}"]


def _model(record: RunRecord) -> str:
    """The model, its pruning, and the clips and crops of each video."""
    identity, protocol = record.identity, record.identity.protocol
    pruned = f"pruned by STA (r = {identity.r})" if identity.is_pruned else "not pruned (r = 0)"
    crops = f"{protocol.crops} crop{'s' * (protocol.crops > 1)}"
    every_s = protocol.every_s
    if every_s is not None:
        seen = f"a clip of {crops} every {every_s:g} s"
    else:
        clips = f"{protocol.clips} clip{'s' * (protocol.clips > 1)}"
        seen = f"{clips} x {crops} of each video"
    decoded = "" if identity.decode == DECODE_MODES[0] else f"; --decode {identity.decode}"
    head = f"; a head of {counted(len(record.model.labels), 'classes')}" if identity.head else ""
    return f"Model:     {record.model.architecture}, {pruned}; {seen}{decoded}{head}"


def _accuracy(totals: Totals) -> list[str]:
    judged, unknown = totals.judged, totals.unknown_ground_truths
    said = []
    if judged:
        share = 100 * totals.correct / judged
        said.append(f"{share:.1f} % of {judged:,} videos with ground truth")
    if unknown:
        said.append(not_among(unknown, judged + unknown, totals.unknown_examples))
    return _wrapped(f"Accuracy:  {'; '.join(said)}") if said else []


def _flops(record: RunRecord) -> str:
    model, totals = record.model, record.finished_totals
    dense = model.flops_per_view_unpruned
    pruned = totals.flops / totals.clips if totals.clips else model.flops_per_view
    text = f"FLOPs:     {quantity(pruned)} per view"
    if pruned != dense:
        text += f", {100 * pruned / dense:.1f} % of the unpruned model's {quantity(dense)}"
    of_all = f"{quantity(totals.flops)} in {totals.clips:,} views"
    return f"{text}; {of_all} (multiply-accumulates)"


def _view_savings(record: RunRecord) -> list[str]:
    """What early exit saved."""
    totals, early_exit = record.finished_totals, record.identity.early_exit
    savings = ViewSavings.of_run(record, videos=totals.ok, views=totals.clips, flops=totals.flops)
    if savings is None or early_exit is None:
        return []
    text = (
        f"Views:     {digits(savings.mean)} of {savings.views_per_video} per video on average, "
        f"{quantity(savings.flops / savings.videos)} FLOPs per video, "
        f"{100 * savings.share_of_all:.1f} % of those of all views"
    )
    if record.identity.is_pruned:
        text += (
            f" and {100 * savings.share_of_unpruned:.1f} % of those of all views without pruning"
        )
    if totals.decoded_clips:
        mean = digits(totals.decoded_clips / savings.videos)
        text += f"; {mean} of {record.identity.protocol.clips} clips decoded per video"
    if record.identity.budget is None:
        exactly = "" if record.identity.decode == DECODE_MODES[0] else ", decoded exactly,"
        text += (
            f"; guaranteed: the label of all views{exactly} for {100 * early_exit.agreement:g} % "
            f"of videos"
        )
    return _wrapped(text)


def _time(record: RunRecord) -> list[str]:
    """Time and machine of the last attempt, and worker time of all attempts."""
    attempts, totals = record.attempts, record.finished_totals
    last = attempts[-1] if attempts else None
    if last is None or last.ended is None:
        return []
    text = f"Time:      {clock((last.ended - last.began).total_seconds())}"
    if len(attempts) > 1:
        text += f" for the last of {len(attempts)} attempts,"
    text += f" on {last.cpus:g} cores"
    if last.labeler_gpus:
        text += f" and {last.gpus:g} GPU{'s' * (last.gpus != 1)}"
    busy = totals.device_ms + totals.unpruned_device_ms
    return _wrapped(
        f"{text} (model {clock(busy / 1e3)}, decoding {clock(totals.decode_ms / 1e3)}, summed "
        f"over all workers)"
    )


def _cost(run: RunDirectory) -> list[str]:
    """The cost in report.json; nothing without prices, or without a report."""
    try:
        cost = json.loads(run.root.child("report.json").read_bytes())["cost"]
        text = f"Cost:      {digits(cost['work'])} {cost['currency']} for the work"
        if cost["cluster"] is not None:
            text += f", {digits(cost['cluster'])} for the cluster, busy or not"
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return _wrapped(text)


def _drift(run: RunDirectory) -> list[str]:
    """The drift in report.json; nothing without a reference, or without a report."""
    try:
        line = drift_line(json.loads(run.root.child("report.json").read_bytes())["drift"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [] if line is None else _wrapped(displayed(line))


def _examples(rows: Sequence[dict[str, Any]], ok: int) -> list[str]:
    """The labels of a few videos."""
    if not rows:
        return []
    names = short_names([row["video_id"] for row in rows], _ID_WIDTH)
    width = max(map(len, names))
    shown = f"the first {len(rows)} of {ok:,} labeled videos, by id"
    lines = [f"Labels:    {shown if len(rows) < ok else 'all labeled videos, by id'}"]
    for name, row in zip(names, rows, strict=True):
        line = f"  {name:<{width}} {row['score']:6.1%}  {row['label']}"
        is_wrong = row["ground_truth_id"] is not None and row["ground_truth"] != row["label"]
        line += f"  (ground truth: {row['ground_truth']})" if is_wrong else ""
        lines.append(displayed(line))
    return lines


def _columns(totals: Totals) -> list[str]:
    """Columns of videos/ that are not empty in this run."""
    failed = totals.ok < totals.videos
    more = ["ground_truth"] * bool(totals.judged) + ["error_type"] * failed
    return ["video_id", "label", "score", "status", *more]


def _wrapped(line: str) -> list[str]:
    """A line wrapped to 80 columns, indented below its heading."""
    return textwrap.wrap(
        line, _WIDTH, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
    )


def _page(run: RunDirectory) -> list[str]:
    page = run.root.child("report.html")
    return [f"Report:    {short_path(page.uri)}"] if page.exists() else []
