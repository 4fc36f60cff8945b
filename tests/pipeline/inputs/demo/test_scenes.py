"""The demo's scenes are reproducible, and each shows its label wherever a view looks."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.inputs.demo.scenes import (
    DIRECTIONS,
    HEIGHT,
    LABELS,
    WIDTH,
    Scene,
    draw_scene,
    position,
    render,
)

CLIP = range(0, 64, 4)
"""The frames of one clip: 16, four apart."""


def some_scenes(count: int = 200) -> list[Scene]:
    return [draw_scene(seed=5, split="train", index=index) for index in range(count)]


def steps_of(scene: Scene, frames: Iterable[int] = range(200)) -> list[NDArray[np.float64]]:
    """What the mover covers from each frame to the next, while it is there."""
    pairs = [(position(scene, frame), position(scene, frame + 1)) for frame in frames]
    return [np.subtract(b, a) for a, b in pairs if a is not None and b is not None]


def first_picture(seed: int, split: str, index: int) -> bytes:
    return next(render(draw_scene(seed=seed, split=split, index=index))).tobytes()


def test_the_same_numbers_give_the_same_pixels() -> None:
    scene = draw_scene(seed=3, split="test", index=7)
    again = draw_scene(seed=3, split="test", index=7)
    assert scene == again
    for left, right in zip(render(scene, step=50), render(again, step=50), strict=True):
        assert np.array_equal(left, right)


def test_a_frame_does_not_depend_on_which_others_are_rendered() -> None:
    scene = draw_scene(seed=0, split="train", index=4)
    every = list(render(scene))
    assert len(every) == scene.frames
    for number, picture in enumerate(render(scene, step=40)):
        assert np.array_equal(picture, every[40 * number])


def test_splits_seeds_and_indices_never_share_a_scene() -> None:
    drawn = [
        draw_scene(seed=seed, split=split, index=index).pixel_seed
        for seed in range(3)
        for split in ("train", "test")
        for index in range(100)
    ]
    assert len(set(drawn)) == len(drawn)


def test_the_two_splits_look_different_under_one_seed() -> None:
    assert first_picture(0, "train", 0) != first_picture(0, "test", 0)


def test_every_label_comes_equally_often() -> None:
    counts = Counter(scene.label for scene in some_scenes(60))
    assert counts == dict.fromkeys(LABELS, 3)


def test_frames_are_rgb_of_the_named_size() -> None:
    picture = next(render(draw_scene(seed=0, split="test", index=0)))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert picture.dtype == np.uint8


def test_resting_objects_are_never_of_the_moving_kind() -> None:
    for scene in some_scenes():
        assert all(item.kind != scene.mover.kind for item, _, _ in scene.resting)


@pytest.mark.parametrize("start", [0, 37, 120])
@pytest.mark.parametrize("left", [0, (WIDTH - HEIGHT) // 2, WIDTH - HEIGHT])
def test_every_clip_and_crop_shows_the_mover_in_motion(start: int, left: int) -> None:
    for scene in some_scenes():
        places = [position(scene, start + frame) for frame in CLIP]
        shown = [
            place is not None and left <= place[0] < left + HEIGHT and 0 <= place[1] < HEIGHT
            for place in places
        ]
        assert sum(shown) >= 4
        assert any(a and b for a, b in pairwise(shown))


def test_the_mover_is_away_for_most_of_every_video() -> None:
    for scene in some_scenes():
        seen = [position(scene, frame) is not None for frame in range(scene.frames)]
        assert 0.2 < np.mean(seen) < 0.5


@pytest.mark.parametrize("motion", [name for name, way in DIRECTIONS.items() if any(way)])
def test_a_straight_motion_goes_its_way_and_no_other(motion: str) -> None:
    for scene in (s for s in some_scenes() if s.motion == motion):
        for step in steps_of(scene):
            assert np.allclose(step, np.array(DIRECTIONS[motion]) * scene.speed)


def test_a_circle_goes_every_way_within_one_appearance() -> None:
    for scene in (s for s in some_scenes() if s.motion == "circles"):
        away = scene.period - scene.phase
        steps = np.array(steps_of(scene, range(away, away + scene.visible)))
        assert (steps.min(0) < -1).all()
        assert (steps.max(0) > 1).all()


def test_the_mover_is_what_changes_in_the_picture() -> None:
    scene = draw_scene(seed=0, split="train", index=0)
    before = scene.period - scene.phase - 1
    here = position(scene, before + 1)
    assert here is not None
    assert position(scene, before) is None
    pictures = list(render(scene))
    change = np.abs(pictures[before + 1].astype(int) - pictures[before])
    x, y = (round(v) for v in here)
    assert change[y - 9 : y + 9, x - 9 : x + 9].mean() > 3 * change.mean()


@pytest.mark.parametrize(
    ("seed", "split", "index", "message"),
    [(0, "validation", 0, "train, test"), (-1, "test", 0, "negative"), (0, "test", -1, "negative")],
)
def test_a_scene_that_cannot_be_is_refused(seed: int, split: str, index: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_scene(seed=seed, split=split, index=index)


def test_a_larger_frame_shows_the_same_scene_larger_and_a_wider_one_more_beside_it() -> None:
    scene = dataclasses.replace(draw_scene(seed=0, split="test", index=0), noise=0.0)
    shown = [number for number in range(scene.frames) if position(scene, number) is not None]
    own = list(render(scene))
    large = list(render(scene, width=2 * WIDTH, height=2 * HEIGHT))
    wide = list(render(scene, width=3 * WIDTH, height=2 * HEIGHT))
    assert wide[0].shape == (2 * HEIGHT, 3 * WIDTH, 3)
    for number in shown[:40:8]:
        x, y = (round(each) for each in position(scene, number) or (0, 0))
        small = own[number][y - 8 : y + 8, x - 8 : x + 8].mean(axis=(0, 1))
        for pictures, left in ((large, 0), (wide, WIDTH // 2)):
            across, down = 2 * x + left, 2 * y
            piece = pictures[number][down - 16 : down + 16, across - 16 : across + 16]
            assert np.abs(piece.mean(axis=(0, 1)) - small).max() < 12
