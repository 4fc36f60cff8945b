"""Names beside the points of a plot, none over another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

# Points (1/72 inch) between a point and its name; nearer places are taken first.
_DISTANCES = (4.0, 8.0, 13.0, 19.0, 26.0, 34.0, 43.0, 53.0)
# From here on a line leads from the name to its point.
_FAR = 8.0
_DIRECTIONS = tuple(math.radians(degrees) for degrees in (0, 180, 90, 270, 45, 135, 315, 225))
_GAP = 1.5
_MARKER = 4.0
_STEP = 3.0


@dataclass(frozen=True)
class PointLabel:
    """A point of a plot, in units of its axes, and what it is called."""

    x: float
    y: float
    text: str
    color: str = "black"


def label_points(
    figure: Figure, axes: Any, labels: Sequence[PointLabel], *, size: float = 8.0
) -> list[Annotation]:
    """Writes names beside points so that none covers another, a point or the edge of the axes.

    Call it when everything else of the figure stands: the layout decides how much room there is.
    Every name takes the nearest free place; where none is free, the one that covers least.

    Args:
        figure: of the axes.
        axes: where the points are drawn, with their final limits.
        labels: in the order in which they choose.
        size: of the letters, in points.
    """
    # Boxes are measured as matplotlib lays them out, in pixels of `figure.dpi`.
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    room = axes.get_window_extent()
    centers = [axes.transData.transform((label.x, label.y)) for label in labels]
    taken = [_around(x, y, _MARKER * scale) for x, y in centers]
    made = []
    for label, (x, y) in zip(labels, centers, strict=True):
        note = axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=size,
            color=label.color,
            ha="center",
            va="center",
            parse_math=False,
        )
        note.set_in_layout(False)
        extent = note.get_window_extent()
        best = min(
            _places(extent.width, extent.height, scale),
            key=lambda place: (place.covered(x, y, taken, room), place.distance),
        )
        note.set_position((best.dx / scale, best.dy / scale))
        if best.distance > _FAR:
            axes.annotate(
                "",
                (label.x, label.y),
                xytext=tuple(each / scale for each in best.end),
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": "#9aa3ad", "linewidth": 0.6},
            ).set_in_layout(False)
        taken.extend(best.boxes(x, y))
        made.append(note)
    return made


@dataclass(frozen=True)
class _Place:
    """A place of a name, in pixels from its point: middle, size, and where its line ends."""

    dx: float
    dy: float
    width: float
    height: float
    distance: float
    gap: float
    end: tuple[float, float]

    def boxes(self, x: float, y: float) -> list[Bbox]:
        """What it covers: the name, and its line in small pieces."""
        half = self.width / 2 + self.gap, self.height / 2 + self.gap
        name = Bbox.from_extents(
            x + self.dx - half[0],
            y + self.dy - half[1],
            x + self.dx + half[0],
            y + self.dy + half[1],
        )
        if self.distance <= _FAR:
            return [name]
        length = math.hypot(*self.end)
        steps = [at / length for at in _range(2 * _MARKER, length, _STEP)]
        return [
            name,
            *(_around(x + step * self.end[0], y + step * self.end[1], 0.5) for step in steps),
        ]

    def covered(self, x: float, y: float, taken: Sequence[Bbox], room: Bbox) -> float:
        """Pixels of what is taken that it would cover, or by which it leaves the room."""
        boxes = self.boxes(x, y)
        outside = _area(boxes[0]) - _shared(boxes[0], room)
        own = _around(x, y, _MARKER)
        others = [other for other in taken if not _contains(other, own)]
        return outside + sum(_shared(box, other) for box in boxes for other in others)


def _places(width: float, height: float, scale: float) -> Iterator[_Place]:
    for distance in _DISTANCES:
        reach = (distance + _GAP) * scale
        for angle in _DIRECTIONS:
            right, up = math.cos(angle), math.sin(angle)
            end = reach * right, reach * up
            yield _Place(
                end[0] + _sign(right) * width / 2,
                end[1] + _sign(up) * height / 2,
                width,
                height,
                distance,
                _GAP * scale / 2,
                end,
            )


def _sign(value: float) -> int:
    return 0 if abs(value) < 1e-6 else int(math.copysign(1, value))


def _range(low: float, high: float, step: float) -> Iterator[float]:
    while low < high:
        yield low
        low += step


def _around(x: float, y: float, reach: float) -> Bbox:
    return Bbox.from_extents(x - reach, y - reach, x + reach, y + reach)


def _area(box: Bbox) -> float:
    return float(box.width * box.height)


def _shared(one: Bbox, other: Bbox) -> float:
    both = Bbox.intersection(one, other)
    return 0.0 if both is None else _area(both)


def _contains(outer: Bbox, inner: Bbox) -> bool:
    return _shared(outer, inner) >= _area(inner) - 1e-6
