"""The rows of one call of a labeling actor: decoded in, with results out."""

from __future__ import annotations

import datetime
from concurrent.futures import Future
from typing import Any

import numpy as np
import pyarrow as pa

from workers.failures import ErrorType
from workers.further_clips import FurtherClips
from workers.inference.views import Frames, IdMismatch, Received
from workers.schema import IDENTITY, OUTCOME

_COMMON = [field.name for field in (*IDENTITY, *OUTCOME)]

# What all clips of a unit have in common, if they are of the same file.
_SAME = ("frame_count", "duration_s")
_COSTS = ("attempts", "decode_ms", "bytes_read")
_REPLACED = "the file was replaced while its clips were decoded"


class DecodedRows:
    """A table of DECODED_SCHEMA as rows to which results are added.

    Args:
        decoded: the table.
        source: decodes further clips of the units that have some alone; None where all have all.

    Attributes:
        rows: one dict per unit, with the columns that decoded and labeled rows share.
        frames: index of each row that was decoded, and its frames, on the table's own memory.
        times: index of each such row, and the seconds of the first and the last frame of its clips,
            by the clips' numbers in the video.
    """

    def __init__(self, decoded: pa.Table, source: FurtherClips | None = None) -> None:
        self._decoded = decoded
        self.rows = decoded.select(_COMMON).to_pylist()
        ok = [index for index, row in enumerate(self.rows) if row["status"] == "ok"]
        self.frames: dict[int, Frames] = {}
        self.times: dict[int, dict[int, tuple[float, float]]] = {}
        for index in ok:
            further = None
            if source is not None and decoded["clips"][index].is_valid:
                further = FurtherOfRow(self, index, source)
            self.frames[index] = _frames(decoded, index, further)
            self.times[index] = _clip_times(decoded, index)

    def table(self, schema: pa.Schema) -> pa.Table:
        """The rows with their results and the time, as a table.

        Raises:
            IdMismatch: the rows are not of the units that were decoded.
        """
        now = datetime.datetime.now(datetime.UTC)
        table = pa.Table.from_pylist([row | {"labeled_at": now} for row in self.rows], schema)
        if table["unit_id"].to_pylist() != self._decoded["unit_id"].to_pylist():
            raise IdMismatch("the labeled rows are of other units than the decoded rows")
        return table


class FurtherOfRow:
    """Decodes further clips of a row's unit, and adds to the row what they cost: a `FurtherFrames`.

    The row fails where they cannot be decoded, as it would had all been decoded at once.
    """

    def __init__(self, rows: DecodedRows, index: int, source: FurtherClips) -> None:
        self._rows = rows
        self._index = index
        self._source = source

    def request(self, clips: tuple[int, ...]) -> Future[Any]:
        """As in FurtherFrames."""
        return self._source.request(self._rows.rows[self._index], clips)

    def received(self, answer: Future[Any]) -> Received:
        """As in FurtherFrames."""
        decoded: pa.Table = answer.result()
        row = self._rows.rows[self._index]
        (found,) = decoded.select(_COMMON).to_pylist()
        costs = {name: row[name] + found[name] for name in _COSTS}
        if found["status"] != "ok":
            return self._failed(found, costs)
        frames = _frames(decoded, 0, self)
        times = self._rows.times[self._index]
        size = self._rows.frames[self._index].pixels.shape[1:3]
        same = frames.pixels.shape[1:3] == size and all(row[name] == found[name] for name in _SAME)
        is_whole = not decoded["clips"][0].is_valid
        if not same and not is_whole:
            failure = {"error_type": str(ErrorType.changed), "error": _REPLACED}
            return self._failed(found | failure, costs)
        if not same:
            times.clear()
            row |= found
        times |= _clip_times(decoded, 0)
        row |= costs | {
            "lost_frames": found["lost_frames"],
            "decoded_clips": len(times),
        }
        return Received(frames, restart=not same)

    def _failed(self, found: dict[str, Any], costs: dict[str, Any]) -> Received:
        outcome: dict[str, Any] = {field.name: None for field in OUTCOME}
        outcome |= {"status": "failed", "error_type": found["error_type"], "error": found["error"]}
        self._rows.rows[self._index] |= outcome | costs
        return Received(None)


def _frames(decoded: pa.Table, index: int, further: FurtherOfRow | None) -> Frames:
    numbers = list(_clip_times(decoded, index))
    pixels = np.frombuffer(decoded["frames"][index].as_buffer(), dtype=np.uint8)
    rows = np.array(decoded["clip_frames"][index].as_py(), dtype=np.int32)
    return Frames(
        unit_id=decoded["unit_id"][index].as_py(),
        pixels=pixels.reshape(decoded["frames_shape"][index].as_py()),
        clip_frames=rows.reshape(len(numbers), -1),
        clips=tuple(numbers),
        further=further,
    )


def _clip_times(decoded: pa.Table, index: int) -> dict[int, tuple[float, float]]:
    """Seconds of the first and the last frame of each clip, by the clip's number in the video."""
    times = np.array(decoded["clip_times"][index].as_py()).reshape(-1, 2).tolist()
    first = decoded["first_clip"][index].as_py() or 0
    numbers = decoded["clips"][index].as_py() or range(first, first + len(times))
    return {number: (start, end) for number, (start, end) in zip(numbers, times, strict=True)}
