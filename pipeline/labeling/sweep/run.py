"""A sweep run from its options to _SUCCESS."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.labeling.conclusion import Conclusion
from pipeline.labeling.nothing_labeled import check_anything_labeled
from pipeline.labeling.run import is_finished, label
from pipeline.labeling.sweep.options import SweepOptions
from pipeline.labeling.sweep.plan import plan_sweep
from pipeline.run.commits import committed
from pipeline.run.run_directory import RunDirectory
from pipeline.run.totals import Totals
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import read_parquet


def run_sweep(options: SweepOptions) -> RunDirectory:
    """Applies every variant to every unit that has no row yet; a finished run is returned at once.

    Raises:
        UsageError, ValueError, OSError: the options are wrong, or the output is another run's.
        RunError: the run could not finish, and the same options resume it; or nothing could be
            labeled.
    """
    plan = plan_sweep(options)
    if not is_finished(plan.run, retry_failed=options.labeling.retry_failed):
        conclusion = Conclusion(totals=_totals, problems=_problems, report=lambda run: None)
        label(plan, options.labeling, conclusion)
    check_anything_labeled(plan.run, plan.run.load())
    return plan.run


def _totals(run: RunDirectory) -> Totals:
    counts = committed(run)
    return Totals(
        units=counts.units,
        ok=counts.units - counts.failed,
        unit_failures=dict(counts.failures),
        video_seconds=counts.seconds,
    )


def _problems(run: RunDirectory) -> list[str]:
    expected, written = _ids(run.manifest), _ids(run.units)
    if np.array_equal(expected, written):
        return []
    return [f"units: {len(written):,} rows are not those of the {len(expected):,} of the manifest"]


def _ids(folder: Location) -> npt.NDArray[np.bytes_]:
    """The unit ids of a folder's files, sorted."""
    parts = []
    for file in folder.files(".parquet"):
        ids = read_parquet(file, ["unit_id"])
        parts.append(ids["unit_id"].to_numpy().astype(np.bytes_))
    return np.sort(np.concatenate(parts)) if parts else np.empty(0, np.bytes_)
