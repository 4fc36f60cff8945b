"""A sample of a relabeled run that is also labeled from its videos, and how far labels agree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.inputs.manifest import MANIFEST_SCHEMA
from pipeline.labeling.begin import begin_like
from pipeline.labeling.embedding_flags import EmbeddingFlags
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import plan_labeling
from pipeline.labeling.pruning_flags import PRUNING, PruningFlags
from pipeline.labeling.run import label
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.run.sampled import holds, tables_to_label, write_sample
from pipeline.run.slices import ID_DIGITS
from pipeline.statistics import Estimate, share
from pipeline.storage.parquet_files import read_parquet

_RUN = "shadow"


@dataclass(frozen=True)
class ShadowAgreement:
    """Agreement of a relabeled run with labeling from the videos.

    Attributes:
        same: share of the videos of the sample with the same label, with its 95 % interval; of
            recordings that of their segments.
        failed: units of the sample that could not be labeled now.
    """

    same: Estimate
    failed: int


def shadow_agreement(
    run: RunDirectory, *, head: str, sample: float, checkpoint: str | None
) -> ShadowAgreement:
    """Labels a sample of the units from their files, with the same head, and compares.

    The sample's run lies in OUTPUT/shadow and has the run's manifest: a unit is what it was,
    also one in an archive or a segment; it resumes as any run does.

    Args:
        run: a relabeled run.
        head: place of the head's file.
        sample: share of the units, above 0 and at most 1; always the same ones.
        checkpoint: place of the model; None for that of the run.

    Raises:
        UsageError: no unit is in the sample, or it cannot be labeled.
        RunError: the sample's run could not finish.
    """
    record = run.load()
    below = f"{min(math.ceil(16**ID_DIGITS * sample), 16**ID_DIGITS - 1):0{ID_DIGITS}x}"
    rows = pa.concat_tables(
        table if sample == 1 else table.filter(pc.less(table["unit_id"], below))
        for table in tables_to_label(run, MANIFEST_SCHEMA.names)
    )
    if not rows.num_rows:
        raise UsageError(
            f"no video of {run.root.uri} is in a sample of {sample:g}; take a larger share"
        )
    options = _options(record, run, head=head, checkpoint=checkpoint)
    plan = plan_labeling(options)
    if not plan.run.exists():
        begin_like(plan, run)
        plan = plan_labeling(options)
    if not (plan.run.success.exists() and holds(plan.run, rows)):
        label(plan, options, sample=write_sample(plan.run, rows))
    return _compared(run, plan.run)


def _options(
    record: RunRecord, run: RunDirectory, *, head: str, checkpoint: str | None
) -> LabelOptions:
    identity, protocol = record.identity, record.identity.protocol
    pruning = {name: identity.pruning[name] for name in PRUNING if name in identity.pruning}
    return LabelOptions(
        task="k400",
        source=identity.input,
        output=run.root.child(_RUN).uri,
        checkpoint=checkpoint or record.model.checkpoint,
        pruning=PruningFlags(**pruning),
        features=EmbeddingFlags(head=head),
        lists=identity.lists,
        all_files=identity.all_files,
        follow_links=identity.follow_links,
        limit=identity.limit,
        protocol=protocol.name,
        views=(protocol.clips, protocol.crops),
        every_s=protocol.every_s,
        precision=identity.precision or "float32",
        decoder=identity.decoder,
        gallery=0,
    )


def _compared(run: RunDirectory, shadow: RunDirectory) -> ShadowAgreement:
    names = ["unit_id", "status", "label_id"]
    table = pa.concat_tables([read_parquet(file, names) for file in shadow.units.files(".parquet")])
    labeled = table.filter(pc.equal(table["status"], "ok"))
    now = dict(zip(*(labeled[name].to_pylist() for name in names[::2]), strict=True))
    wanted = pa.array(list(now), pa.string())
    hits = count = 0
    for file in run.units.files(".parquet"):
        part = read_parquet(file, names)
        part = part.filter(
            pc.and_(pc.is_in(part["unit_id"], value_set=wanted), pc.equal(part["status"], "ok"))
        )
        count += len(part)
        for unit, label_id in zip(*(part[name].to_pylist() for name in names[::2]), strict=True):
            hits += now[unit] == label_id
    return ShadowAgreement(share(hits, count), failed=len(table) - len(labeled))
