"""What finds out how long videos are, before recordings are cut into units."""

from __future__ import annotations

import pyarrow as pa

from workers.decoding import DecodeLimits, SandboxedDecoder, Unit
from workers.failures import UnitFailure
from workers.sampling import Protocol


class MeasureActor:
    """Rows of videos to the same rows with their duration, through one sandboxed decoder."""

    def __init__(self, protocol: Protocol, limits: DecodeLimits | None = None) -> None:
        self._decoder = SandboxedDecoder(protocol, limits=limits or DecodeLimits())

    def __call__(self, videos: pa.Table) -> pa.Table:
        """The table with a float64 column duration_s: seconds, null where it cannot be told.

        Why it cannot be told, decoding will say.
        """
        durations = [self._duration(row) for row in videos.to_pylist()]
        return videos.append_column("duration_s", pa.array(durations, pa.float64()))

    def _duration(self, row: dict[str, str]) -> float | None:
        unit = Unit("", row["video_id"], row["uri"], etag=row.get("etag"))
        measured = self._decoder.measure(unit)
        return None if isinstance(measured, UnitFailure) else measured.duration_s
