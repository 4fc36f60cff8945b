"""The longest that files can keep decoders, by the limits of a run: per file, and for all of it.

A file that is as slow as the limits allow fails in the quick pass and in the last one, where a
crash gets a second attempt. A recording is given up after `workers.file_history.STRIKES` ended
decoders, and when it has used its CPU seconds. Fetching comes on top, up to --fetch-timeout each
time; so does a file that ends its actor, which is tried as often as it may end decoders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pipeline.storage.location import Location
from pipeline.storage.parquet_files import read_parquet
from workers.decoding.types import (
    QUICK_SECONDS,
    READ_BYTES_A_SECOND,
    VIDEO_BYTES_A_SECOND,
    DecodeLimits,
)
from workers.file_history import RECORDING_ATTEMPTS, SEGMENT_SECONDS, STRIKES

Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WorstCase:
    """Seconds that decoding can take if every file is hostile.

    Attributes:
        file_s: of the file that can take longest.
        run_s: of all units of the manifest, on all decoders.
    """

    file_s: float
    run_s: float


def worst_case(
    manifest: Location, limits: DecodeLimits, decoders: int, *, looks: int = 1
) -> WorstCase:
    """The worst case of a manifest, whose sizes are read; a file of unknown size is a large one.

    ``looks``: how often early exit may have clips of a video decoded, each time with these limits.
    """
    longest = total = 0.0
    for file in manifest.files(".parquet"):
        columns = ["size_bytes", "start_s"]
        rows = read_parquet(file, columns)
        size = np.asarray(pc.fill_null(rows["size_bytes"].cast("float64"), np.inf))
        start_s = np.asarray(pc.fill_null(rows["start_s"], -1.0))
        quick_s = _attempt_s(size, limits, min(QUICK_SECONDS, limits.seconds))
        full_s = _attempt_s(size, limits, limits.seconds)
        whole_s = looks * (quick_s + 2 * full_s)
        recording_s = STRIKES * quick_s + (STRIKES + 1) * full_s
        recording_s += RECORDING_ATTEMPTS * limits.seconds + np.minimum(
            size / VIDEO_BYTES_A_SECOND, limits.source_bytes / VIDEO_BYTES_A_SECOND
        )
        first_s = np.select([start_s < 0, start_s == 0], [whole_s, recording_s], 0.0)
        longest = max(longest, float(first_s.max(initial=0.0)))
        total += float(first_s.sum()) + SEGMENT_SECONDS * float((start_s >= 0).sum())
    return WorstCase(file_s=longest, run_s=total / decoders)


def _attempt_s(size: Seconds, limits: DecodeLimits, base_s: float) -> Seconds:
    """(n,) `DecodeLimits.attempt_seconds` of files of ``size`` bytes, all of whose frames count."""
    most_s = base_s + size / READ_BYTES_A_SECOND + size / VIDEO_BYTES_A_SECOND
    return np.maximum(base_s, np.minimum(most_s, limits.most_seconds))
