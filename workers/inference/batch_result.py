"""The model's results for a batch, and the view that each of its rows is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workers.inference.views import View


@dataclass(frozen=True)
class BatchResult:
    """The model's results for the n views of a batch.

    Attributes:
        first: number of the first view; the others follow it.
        probabilities: float32 (n, classes).
        kept: one bool array (n, n_t, n_s) per pruning stage.
        flops: (n,) multiply-accumulates of each view.
        device_ms: device time of the batch, milliseconds.
        features: float16 (n, d); None where they are not asked for.
    """

    first: int
    probabilities: npt.NDArray[np.float32]
    kept: list[npt.NDArray[np.bool_]]
    flops: list[int]
    device_ms: float
    features: npt.NDArray[np.float16] | None = None

    def __len__(self) -> int:
        return len(self.probabilities)

    def view(self, row: int, *, clip: int, crop: int, sharing: int) -> View:
        """The view in this row, as a clip under a crop.

        `sharing`: number of views that the batch's device time is divided among.
        """
        return View(
            clip=clip,
            crop=crop,
            probabilities=self.probabilities[row],
            kept=tuple(mask[row] for mask in self.kept),
            flops=self.flops[row],
            device_ms=self.device_ms / sharing,
            features=None if self.features is None else self.features[row],
        )
