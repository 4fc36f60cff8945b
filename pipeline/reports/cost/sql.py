"""Statements for DuckDB that recompute the report's figures from the runs' Parquet files."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.reports.cost.runs import ComparedRun

# Sums of whole nanoseconds and of integers: the same to the digit in whatever order.
_SUMS = """\
       count(*) AS videos,
       coalesce(sum(num_views), 0)::HUGEINT AS views,
       coalesce(sum(flops::HUGEINT), 0) AS flops,
       coalesce(sum(floor(device_ms * 1e6 + 0.5::DOUBLE)::HUGEINT), 0) AS device_ns,
       coalesce(sum(floor(decode_ms * 1e6 + 0.5::DOUBLE)::HUGEINT), 0) AS decode_ns,
       coalesce(sum(bytes_read::HUGEINT), 0) AS bytes_read,
       coalesce(sum(CASE WHEN regexp_matches(uri, '^(s3|gs|az|abfss)://') THEN units ELSE 0 END),
                0)::HUGEINT AS gets,
       coalesce(sum(floor(duration_s * 1e9 + 0.5::DOUBLE)::HUGEINT), 0) AS video_ns,
       coalesce(sum(unpruned_flops::HUGEINT), 0) AS unpruned_flops,
       coalesce(sum(floor(unpruned_device_ms * 1e6 + 0.5::DOUBLE)::HUGEINT), 0)
         AS unpruned_device_ns"""

# Half the Kullback-Leibler divergence from p to the mean of p and q, plus half that from q.
_DIVERGENCE = """\
(list_sum([x[1] * log2(2 * x[1] / (x[1] + x[2])) for x in list_zip(p, q) if x[1] > 0])
   + list_sum([x[2] * log2(2 * x[2] / (x[1] + x[2])) for x in list_zip(p, q) if x[2] > 0])) / 2"""


def table(run: ComparedRun, folder: str) -> str:
    """A folder of a run, as DuckDB reads it."""
    path = f"{run.uri}/{folder}/*.parquet".replace("'", "''")
    return f"read_parquet('{path}', hive_partitioning = false)"


def shared_videos(runs: Sequence[ComparedRun]) -> str:
    """The ids of the videos that all runs labeled."""
    return "\nINTERSECT\n".join(
        f"SELECT video_id FROM {table(run, 'videos')} WHERE status = 'ok'" for run in runs
    )


def work(run: ComparedRun, runs: Sequence[ComparedRun] | None) -> str:
    """Sums over the shared videos of `runs`, or without these over all rows of the run."""
    every = f"SELECT\n{_SUMS}\nFROM {table(run, 'videos')}"
    return every if runs is None else f"{_with_shared(runs)}{every} JOIN shared USING (video_id)"


def accuracy(run: ComparedRun, runs: Sequence[ComparedRun]) -> str:
    """Videos whose ground truth is a class of the model, and how many are correct."""
    return (
        f"{_with_shared(runs)}"
        f"SELECT count(*) AS judged, count(*) FILTER (label = ground_truth) AS correct\n"
        f"FROM {table(run, 'videos')} JOIN shared USING (video_id)\n"
        f"WHERE ground_truth_id IS NOT NULL"
    )


def agreement(run: ComparedRun, reference: ComparedRun, runs: Sequence[ComparedRun]) -> str:
    """Units in both runs, those with one label, mean overlap of top classes, mean divergence."""
    chosen = "unit_id, video_id, label_id, top_ids, scores"
    return (
        f"{_with_shared(runs, more=True)}"
        f"a AS (SELECT {chosen} FROM {table(reference, 'units')} WHERE status = 'ok'),\n"
        f"b AS (SELECT {chosen} FROM {table(run, 'units')} WHERE status = 'ok'),\n"
        f"pairs AS (\n"
        f"  SELECT a.label_id = b.label_id AS same,\n"
        f"         len(list_intersect(a.top_ids, b.top_ids)) / len(a.top_ids) AS overlap,\n"
        f"         [x / list_sum(a.scores::DOUBLE[]) for x in a.scores::DOUBLE[]] AS p,\n"
        f"         [x / list_sum(b.scores::DOUBLE[]) for x in b.scores::DOUBLE[]] AS q\n"
        f"  FROM a JOIN b USING (unit_id) JOIN shared ON a.video_id = shared.video_id)\n"
        f"SELECT count(*) AS units, count(*) FILTER (same) AS agreeing, avg(overlap) AS overlap,\n"
        f"       avg({_DIVERGENCE}) AS divergence\n"
        f"FROM pairs"
    )


def clip_agreement(run: ComparedRun, reference: ComparedRun, runs: Sequence[ComparedRun]) -> str:
    """Clips of dense labeling in both runs, and those with one label."""
    chosen = "unit_id, video_id, clip, crop, label_id"
    return (
        f"{_with_shared(runs, more=True)}"
        f"a AS (SELECT {chosen} FROM {table(reference, 'clips')}),\n"
        f"b AS (SELECT {chosen} FROM {table(run, 'clips')})\n"
        f"SELECT count(*) AS clips, count(*) FILTER (a.label_id = b.label_id) AS agreeing\n"
        f"FROM a JOIN b USING (unit_id, clip, crop) JOIN shared ON a.video_id = shared.video_id"
    )


def _with_shared(runs: Sequence[ComparedRun], *, more: bool = False) -> str:
    lines = shared_videos(runs).replace("\n", "\n  ")
    return f"WITH shared AS (\n  {lines}\n)" + (",\n" if more else "\n")
