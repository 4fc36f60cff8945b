"""The rows of one call of a labeling actor: decoded in, with results out."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa

from workers.inference.views import Frames, IdMismatch
from workers.schema import IDENTITY, OUTCOME

_COMMON = [field.name for field in (*IDENTITY, *OUTCOME)]


class DecodedRows:
    """A table of DECODED_SCHEMA as rows to which results are added.

    Attributes:
        rows: one dict per unit, with the columns that decoded and labeled rows share.
        frames: index of each row that was decoded, and its frames, on the table's own memory.
    """

    def __init__(self, decoded: pa.Table) -> None:
        self._decoded = decoded
        self.rows = decoded.select(_COMMON).to_pylist()
        ok = [index for index, row in enumerate(self.rows) if row["status"] == "ok"]
        self.frames = {index: self._frames(index) for index in ok}

    def clip_times(self, index: int) -> np.ndarray:
        """(clips, 2) seconds of the first and the last frame of each clip."""
        return np.array(self._decoded["clip_times"][index].as_py()).reshape(-1, 2)

    def first_clip(self, index: int) -> int:
        """Number in the video of a row's first clip."""
        return self._decoded["first_clip"][index].as_py() or 0

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

    def _frames(self, index: int) -> Frames:
        decoded = self._decoded
        pixels = np.frombuffer(decoded["frames"][index].as_buffer(), dtype=np.uint8)
        rows = np.array(decoded["clip_frames"][index].as_py(), dtype=np.int32)
        return Frames(
            unit_id=decoded["unit_id"][index].as_py(),
            pixels=pixels.reshape(decoded["frames_shape"][index].as_py()),
            clip_frames=rows.reshape(len(self.clip_times(index)), -1),
        )
