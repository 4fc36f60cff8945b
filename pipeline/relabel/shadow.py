"""A sample of a relabeled run that is also labeled from its videos, and how far labels agree."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.inputs.manifest import unit_id
from pipeline.labeling.embedding_flags import EmbeddingFlags
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import plan_labeling
from pipeline.labeling.pruning_flags import PRUNING, PruningFlags
from pipeline.labeling.run import is_finished, label
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.run.sampled import sampled_manifest
from pipeline.statistics import Estimate, share
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import read_parquet
from pipeline.storage.parquet_parts import PartWriter
from workers.inference.unpruned_sample import in_sample

_LIST = pa.schema(
    [
        ("video_id", pa.string()),
        ("uri", pa.string()),
        ("part", pa.string()),
        ("ground_truth", pa.string()),
    ]
)
_RUN, _VIDEOS = "shadow", "shadow_videos"


@dataclass(frozen=True)
class ShadowAgreement:
    """Agreement of a relabeled run with labeling from the videos.

    Attributes:
        same: share of the videos of the sample with the same label, with its 95 % interval.
        failed: videos of the sample that could not be labeled now.
    """

    same: Estimate
    failed: int


def shadow_agreement(
    run: RunDirectory, *, head: str, sample: float, checkpoint: str | None
) -> ShadowAgreement:
    """Labels a sample of the videos from their files, with the same head, and compares.

    The sample's run lies in OUTPUT/shadow; it resumes as any run does.

    Args:
        run: a relabeled run.
        head: place of the head's file.
        sample: share of the videos, above 0 and at most 1; always the same ones.
        checkpoint: place of the model; None for that of the run.

    Raises:
        UsageError: no video is in the sample, or it cannot be labeled.
        RunError: the sample's run could not finish.
    """
    record = run.load()
    listed = run.root.child(_VIDEOS)
    if not _write_list(run, listed, sample):
        raise UsageError(
            f"no video of {run.root.uri} is in a sample of {sample:g}; take a larger share"
        )
    options = _options(record, run, listed, head=head, checkpoint=checkpoint)
    plan = plan_labeling(options)
    if not is_finished(plan.run, retry_failed=False):
        label(plan, options)
    return _compared(run, plan.run)


def _write_list(run: RunDirectory, listed: Location, sample: float) -> int:
    """Writes the videos of the sample; returns their number."""
    count, last = 0, None
    with PartWriter(listed, _LIST, rows_per_file=1_000_000) as parts:
        for table in sampled_manifest(run, _LIST.names):
            ids = table["video_id"].to_pylist()
            # Segments of a recording stand together; the list has each video once.
            chosen = [
                name != before and in_sample(unit_id(name), sample)
                for before, name in zip([last, *ids], ids, strict=False)
            ]
            last = ids[-1] if ids else last
            part = table.filter(pa.array(chosen, pa.bool_()))
            parts.write(part.cast(_LIST))
            count += len(part)
    return count


def _options(
    record: RunRecord,
    run: RunDirectory,
    listed: Location,
    *,
    head: str,
    checkpoint: str | None,
) -> LabelOptions:
    identity, protocol = record.identity, record.identity.protocol
    pruning = {name: identity.pruning[name] for name in PRUNING if name in identity.pruning}
    return LabelOptions(
        task="k400",
        source=listed.uri,
        output=run.root.child(_RUN).uri,
        checkpoint=checkpoint or record.model.checkpoint,
        pruning=PruningFlags(**pruning),
        features=EmbeddingFlags(head=head),
        protocol=protocol.name,
        views=(protocol.clips, protocol.crops),
        every_s=protocol.every_s,
        precision=identity.precision or "float32",
        decoder=identity.decoder,
        gallery=0,
    )


def _compared(run: RunDirectory, shadow: RunDirectory) -> ShadowAgreement:
    names = ["video_id", "status", "label_id"]
    parts = [read_parquet(file, names) for file in shadow.videos.files(".parquet")]
    table = pa.concat_tables(parts)
    labeled = table.filter(pc.equal(table["status"], "ok"))
    now = dict(zip(*(labeled[name].to_pylist() for name in ("video_id", "label_id")), strict=True))
    wanted = pa.array(list(now), pa.string())
    hits = count = 0
    for file in run.videos.files(".parquet"):
        part = read_parquet(file, names)
        part = part.filter(
            pc.and_(pc.is_in(part["video_id"], value_set=wanted), pc.equal(part["status"], "ok"))
        )
        count += len(part)
        for name, label_id in zip(*(part[n].to_pylist() for n in names[::2]), strict=True):
            hits += now[name] == label_id
    return ShadowAgreement(share(hits, count), failed=len(table) - len(labeled))
