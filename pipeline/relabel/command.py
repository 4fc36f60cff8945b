"""The command that relabels a run, and its summary."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from pipeline.embeddings.features import feature_spec, read_head
from pipeline.embeddings.read import embedding_record
from pipeline.errors import UsageError
from pipeline.formatting import clock, digits, json_text, quantity
from pipeline.job_commands import arguments, job_words, next_lines, short_path
from pipeline.messages import tell
from pipeline.prices import Prices
from pipeline.relabel.options import RelabelOptions
from pipeline.relabel.relabel import Relabeling, relabel
from pipeline.relabel.shadow import ShadowAgreement, shadow_agreement
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.storage.location import Location
from sta.checkpoints.load import load_model
from sta.heads import LinearHead, backbone_fingerprint, head_bytes
from sta.text import displayed

_AGREEMENT = "shadow_agreement.json"


def run_relabel(options: RelabelOptions) -> None:
    """Relabels, and prints a summary."""
    source = RunDirectory(Location.of(options.run))
    record = embedding_record(source)
    head = _head(options, record)
    relabeling = Relabeling(
        source=source,
        output=RunDirectory(Location.of(options.output)),
        head=head,
        head_file=options.head,
        keep_embeddings=options.embeddings,
        prices=Prices.read(options.prices) if options.prices else None,
    )
    made = relabel(relabeling)
    agreement = None
    if options.shadow_share:
        agreement = _shadow(relabeling.output, options, head)
    tell("\n".join(_summary(relabeling, record, made, agreement)))


def _head(options: RelabelOptions, record: RunRecord) -> LinearHead:
    """The head of --head, or that of a checkpoint.

    Raises:
        UsageError: there is none, or the checkpoint has another backbone than the run.
    """
    if options.head is not None:
        return read_head(Location.of(options.head))
    assert options.checkpoint is not None
    model = load_model(options.checkpoint)
    features = feature_spec(record)
    if model.label_map is not None:
        raise UsageError("a checkpoint with a label map has no head of its own; train one")
    found = backbone_fingerprint(model)
    weight = model.head.weight.detach().numpy()
    return LinearHead(
        weight=weight,
        bias=model.head.bias.detach().numpy(),
        labels=tuple(model.labels),
        features=dataclasses.replace(features, backbone=found, channels=weight.shape[1]),
        license=model.license,
    )


def _shadow(run: RunDirectory, options: RelabelOptions, head: LinearHead) -> ShadowAgreement:
    with tempfile.TemporaryDirectory() as folder:
        place = options.head
        if place is None:
            path = Path(folder) / "head.safetensors"
            path.write_bytes(head_bytes(head))
            place = str(path)
        found = shadow_agreement(
            run, head=place, sample=options.shadow_share, checkpoint=options.checkpoint
        )
    content = {"share": options.shadow_share} | dataclasses.asdict(found)
    run.root.child(_AGREEMENT).write_bytes(json_text(content, allow_nan=True).encode())
    return found


def _summary(
    relabeling: Relabeling, source: RunRecord, made: RunRecord, agreement: ShadowAgreement | None
) -> list[str]:
    totals, before = made.finished_totals, source.finished_totals
    lines = [
        f"Videos:    {totals.ok:,} relabeled ({clock(totals.video_seconds)} of video), "
        f"{totals.failed:,} without a label, as before",
        f"Head:      {_named(relabeling)}{len(relabeling.head.labels):,} classes over "
        f"{made.model.channels} channels of {made.model.architecture}",
        f"FLOPs:     {quantity(totals.flops)} in {totals.clips:,} views; labeling took "
        f"{quantity(before.flops)} (multiply-accumulates)",
    ]
    spent, saved = core_seconds(made), core_seconds(source)
    if spent and saved:
        lines.append(
            f"Time:      {digits(spent)} core-seconds; decoding and labeling took {digits(saved)}, "
            f"{digits(saved / spent)} times as many"
        )
    if totals.judged:
        lines.append(
            f"Accuracy:  {100 * totals.correct / totals.judged:.1f} % of {totals.judged:,} videos "
            "with ground truth"
        )
    if totals.unknown_ground_truths:
        lines.append(
            f"Accuracy:  {totals.unknown_ground_truths:,} videos have a ground truth that is no "
            "class of the head"
        )
    if agreement is not None:
        failed = f"; {agreement.failed:,} could not be labeled" if agreement.failed else ""
        lines.append(
            f"Agreement: {agreement.same.percent()} of {agreement.same.count:,} videos that were "
            f"also labeled from their files{failed}"
        )
    lines += [f"Note:      {note}" for note in made.model.notes[len(source.model.notes) :]]
    root = relabeling.output.root
    lines.append(f"Output:    {root.uri}")
    if (page := root.child("report.html")).exists():
        lines.append(f"Report:    {page.uri}")
    runs = (short_path(each.uri) for each in (relabeling.source.root, root))
    return lines + next_lines(
        {
            "Compare the cost and the labels of both runs:": [
                *job_words("cost_report"),
                *arguments(*runs),
            ]
        }
    )


def _named(relabeling: Relabeling) -> str:
    return "" if relabeling.head_file is None else f"{displayed(relabeling.head_file)}, "


def core_seconds(record: RunRecord) -> float | None:
    """Core-seconds that labeling took, decoding included; None for labelers on GPUs."""
    totals, attempts = record.finished_totals, record.attempts
    if not attempts or any(attempt.labeler_gpus for attempt in attempts):
        return None
    return (totals.device_ms * attempts[-1].labeler_cpus + totals.decode_ms) / 1e3
