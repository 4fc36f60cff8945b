"""What the job says at its end."""

from __future__ import annotations

import os
from typing import Any

import pyarrow.parquet as pq

from pipeline.numerals import digits
from pipeline.policies.budget_report import budget_lines
from pipeline.progress import clock
from pipeline.run_directory import RunDirectory
from pipeline.shadow_report import shadow_agreement, shadow_lines
from pipeline.spared import Spared, is_pruned
from pipeline.true_labels import not_among

_SHOWN = 5


def summary(run: RunDirectory, content: dict[str, Any]) -> str:
    """A short account of a finished run, from its run.json and its tables."""
    totals, model = content["totals"], content["model"]
    lines = [_counts(totals)]
    for reason, count in sorted(totals["failures"].items(), key=lambda item: -item[1]):
        video, error = totals["examples"][reason][0]
        lines.append(f"  {reason:<18}{count:>7,}  such as {video}: {error}")
    if totals["damaged"]:
        lines.append(f"  {totals['damaged']:,} labelled videos lost frames to damage (lost_frames)")
    lines.append(_flops(model, totals))
    lines += _looks(content)
    lines += _accuracy(totals)
    lines += budget_lines(run, content)
    lines += shadow_lines(content, shadow_agreement(run, content))
    stages = totals.get("stages")
    if stages and stages["bottleneck"]:
        lines.append(f"Bottleneck: {stages['bottleneck']}")
    skipped = content["listing"]["skipped"]
    if skipped:
        kinds = ", ".join(f"{count:,} {name}" for name, count in sorted(skipped.items()))
        lines.append(f"Left out:  {kinds}")
    lines += [
        *_examples(run),
        f"Output:    {_short(run.root.uri)}",
        *_page(run),
        f"Open it:   {_opener(run)}",
    ]
    return "\n".join(lines)


def _counts(totals: dict[str, Any]) -> str:
    failed = totals["videos"] - totals["ok"]
    length = clock(totals["video_seconds"])
    text = f"Videos:    {totals['ok']:,} labelled ({length} of video), {failed:,} failed"
    if totals["units"] > totals["videos"]:
        text += (
            f"; {sum(totals['unit_failures'].values()):,} of {totals['units']:,} stretches failed"
        )
    return text


def _accuracy(totals: dict[str, Any]) -> list[str]:
    judged, unknown = totals["judged"], totals["unknown_truths"]
    said = []
    if judged:
        share = 100 * totals["right"] / judged
        said.append(f"{share:.1f} % of {judged:,} videos with a true label")
    if unknown:
        said.append(not_among(unknown, judged + unknown, totals["unknown_examples"]))
    return [f"Right:     {'; '.join(said)}"] if said else []


def _flops(model: dict[str, Any], totals: dict[str, Any]) -> str:
    dense = model["flops_per_view_unpruned"]
    pruned = totals["flops"] / totals["clips"] if totals["clips"] else model["flops_per_view"]
    text = f"FLOPs:     {digits(pruned / 1e9, 4)} G per view"
    if pruned != dense:
        text += f", {100 * pruned / dense:.1f} % of the unpruned model's {digits(dense / 1e9, 4)} G"
    return f"{text}; {digits(totals['flops'] / 1e12, 4)} T in {totals['clips']:,} views"


def _looks(content: dict[str, Any]) -> list[str]:
    """What a policy spared."""
    totals, policy = content["totals"], content["identity"].get("policy")
    spared = Spared.by(content, videos=totals["ok"], looked=totals["clips"], flops=totals["flops"])
    if spared is None or policy is None:
        return []
    text = (
        f"Looks:     {digits(spared.mean)} of {spared.of} views on average, "
        f"{digits(spared.flops / spared.videos / 1e9, 4)} G FLOPs per video, "
        f"{100 * spared.of_all:.1f} % of what all views take"
    )
    if is_pruned(content["identity"]):
        text += f" and {100 * spared.of_unpruned:.1f} % of all unpruned"
    if "budget" not in content["identity"]:
        text += f"; promised: {100 * policy['agreement']:g} % of the labels of all views"
    return [text]


def _examples(run: RunDirectory) -> list[str]:
    """A few labelled videos, so that the first look needs no tool."""
    filesystem, path = run.videos.filesystem()
    names = ["video_id", "status", "label", "score", "truth", "truth_id"]
    files = run.videos.files(".parquet")
    if not files:
        return []
    path = files[0].filesystem()[1]
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        batch = next(file.iter_batches(batch_size=64, columns=names), None)
    rows = [row for row in (batch.to_pylist() if batch else []) if row["status"] == "ok"]
    lines = []
    for row in rows[:_SHOWN]:
        is_wrong = row["truth_id"] is not None and row["truth"] != row["label"]
        truth = f"  (truly {row['truth']})" if is_wrong else ""
        lines.append(f"  {row['video_id']:<28.28} {row['score']:6.1%}  {row['label']}{truth}")
    heading = f"Labels:    the first {len(lines)} of {_short(run.videos.uri)}"
    return [heading, *lines] if lines else []


def _page(run: RunDirectory) -> list[str]:
    page = run.root.child("report.html")
    return [f"Report:    {_short(page.uri)}"] if page.exists() else []


def _short(uri: str) -> str:
    """A local path below the working directory as seen from there."""
    if "://" in uri:
        return uri
    try:
        relative = os.path.relpath(uri)
    except FileNotFoundError:  # Ray unpacked that folder for the job, and has deleted it again
        return uri
    return uri if relative.startswith(os.pardir) else relative


def _opener(run: RunDirectory) -> str:
    where = _short(run.videos.uri)
    return (
        f"python -c \"import pyarrow.parquet as pq; print(pq.read_table('{where}').to_pandas())\""
    )
