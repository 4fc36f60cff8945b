"""The most probable classes of a view or a video; numpy only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TOP = 5


def top_classes(
    probabilities: npt.NDArray[np.floating], count: int = TOP
) -> tuple[list[int], list[float]]:
    """Indices and probabilities of the most probable classes; ties go to the lower index."""
    order = np.argsort(-probabilities, kind="stable")[:count]
    return order.tolist(), probabilities[order].tolist()
