"""The actor that measures long videos: a table of videos in, the table with durations out.

It is a plain class that runs without Ray and does not import torch.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from workers.decoding import DecodeLimits, Measured, SandboxedDecoder, Unit
from workers.file_history import FileCost, FileHistory, Files
from workers.sampling import Protocol

DURATION = "duration_s"


class MeasureActor:
    """Adds the column ``duration_s`` to tables of videos, through one sandboxed decoder."""

    def __init__(
        self,
        protocol: Protocol,
        limits: DecodeLimits | None = None,
        files: Files | None = None,
    ) -> None:
        self._limits = limits or DecodeLimits()
        self._files = files or FileHistory()
        self._decoder = SandboxedDecoder(protocol, limits=self._limits)

    def __call__(self, videos: pa.Table) -> pa.Table:
        """The same rows with a float64 column ``duration_s``: seconds of the video.

        It is null where measuring failed; decoding the video will give the reason. Needs the
        columns ``video_id`` and ``uri``, reads ``part`` and ``etag`` if they are there, and
        keeps all others.
        """
        names = [
            name for name in ("video_id", "uri", "part", "etag") if name in videos.column_names
        ]
        lengths = [self._measured(row) for row in videos.select(names).to_pylist()]
        if DURATION in videos.column_names:
            videos = videos.drop_columns([DURATION])
        return videos.append_column(
            pa.field(DURATION, pa.float64()), pa.array(lengths, type=pa.float64())
        )

    def _measured(self, row: dict[str, Any]) -> float | None:
        unit = Unit(
            row["video_id"],
            row["video_id"],
            row["uri"],
            etag=row.get("etag"),
            part=row.get("part"),
        )
        if self._files.begin(unit.unit_id, unit.file).refusal(self._limits, None) is not None:
            return None
        result = self._decoder.measure(unit)
        self._files.end(unit.unit_id, unit.file, FileCost.of(unit, result, quick=False))
        return result.duration_s if isinstance(result, Measured) else None
