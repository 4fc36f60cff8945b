"""Names beside points: they can all be read."""

from itertools import combinations

import numpy as np
import pytest

from pipeline.reports.html.figures import inline_svg, new_figure
from pipeline.reports.html.point_labels import PointLabel, label_points


def labeled(points):
    figure, axes = new_figure()
    axes.plot(*zip(*points, strict=True), "o")
    axes.margins(0.15)
    names = [PointLabel(x, y, f"system {at}, $v$") for at, (x, y) in enumerate(points)]
    return figure, axes, label_points(figure, axes, names)


@pytest.mark.parametrize("seed", range(5))
def test_no_name_covers_another_or_a_point_or_leaves_the_axes(seed):
    points = np.random.default_rng(seed).random((9, 2)).tolist()
    figure, axes, names = labeled(points)
    figure.draw_without_rendering()
    boxes = [name.get_window_extent() for name in names]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    centers = axes.transData.transform(points)
    assert not any(box.contains(*center) for box in boxes for center in centers)
    room = axes.get_window_extent()
    assert all(room.contains(*corner) for box in boxes for corner in box.corners())


def test_points_close_together_have_names_apart_with_lines_to_them():
    figure, _, names = labeled([(0, 0), (1, 1), *((0.5 + step / 500, 0.5) for step in range(6))])
    figure.draw_without_rendering()
    boxes = [name.get_window_extent() for name in names]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_the_places_are_the_same_every_time():
    points = [(0, 0), (0.1, 0), (1, 1)]
    assert [name.get_position() for name in labeled(points)[2]] == [
        name.get_position() for name in labeled(points)[2]
    ]


def test_names_are_written_as_they_are():
    figure, _, _ = labeled([(0, 0), (1, 1)])
    assert ">system 0, $v$</text>" in inline_svg(figure, "points")
