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


def top_classes_each(
    probabilities: npt.NDArray[np.floating], count: int = TOP
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]]:
    """`top_classes` of every row of (n, classes): ids and probabilities (n, at most `count`)."""
    order = np.argsort(-probabilities, axis=-1, kind="stable")[:, :count]
    return order, np.take_along_axis(probabilities, order, axis=-1)
