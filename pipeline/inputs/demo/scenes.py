"""The scenes of the demo archive: what they show, and their pixels.

A scene is a textured, slightly shaking background with resting objects, and one small object of
another kind that appears repeatedly for about two thirds of a second and moves meanwhile. The
label is the kind and the motion of this object: four kinds times five motions. A single frame does
not determine it, and only a few of the model's tokens show the object.

All random numbers come from a generator of (seed, split, index), so the same three values give the
same pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

KINDS = ("ball", "box", "star", "ring")
DIRECTIONS = {
    "slides left": (-1, 0),
    "slides right": (1, 0),
    "rises": (0, -1),
    "falls": (0, 1),
    "circles": (0, 0),
}
"""Each motion's direction (x, y) in the picture, y downwards; a circle has none."""

MOTIONS = tuple(DIRECTIONS)
LABELS = tuple(f"{kind} {motion}" for kind in KINDS for motion in MOTIONS)
SPLITS = ("train", "test")

WIDTH, HEIGHT = 320, 240
"""Frame size of the archive in pixels, in which the lengths of a scene are given. Every square crop
along the long side shows columns 80 to 239."""

_SHAKE = 6
"""The camera's largest offset from rest, in pixels, along each axis."""

_HUES = {"ball": 0.02, "box": 0.58, "star": 0.15, "ring": 0.80}
"""Mean hue of each kind, in turns. The spread around it lets neighbors come close."""

_HUE_SPREAD = 0.06


@dataclass(frozen=True)
class Item:
    """One object: its kind, radius in pixels, two RGB colors (0..255), and its angle in turns."""

    kind: str
    radius: float
    color: tuple[float, float, float]
    second: tuple[float, float, float]
    angle: float


@dataclass(frozen=True)
class Scene:
    """All parameters of one video; ``render`` turns them into pixels.

    Attributes:
        label_id: index into ``LABELS``.
        fps: frames per second.
        frames: length of the video in frames.
        mover: the object that moves.
        spin: the mover's rotation, in turns per frame.
        speed: pixels per frame along the path; below 0 for a circle that runs counterclockwise.
        path_radius: radius of the circle in pixels; 0 for the straight motions.
        period: frames from one appearance of the mover to the next, fewer than a clip spans.
        visible: frames that an appearance lasts.
        phase: how far into its period the mover is at frame 0, in frames.
        middles: middle of the path in each appearance, (x, y) in pixels.
        resting: the objects that do not move, each with its center.
        noise: standard deviation of the sensor noise, in grey levels.
        pixel_seed: seed of the background, of the shake and of the noise.
    """

    label_id: int
    fps: int
    frames: int
    mover: Item
    spin: float
    speed: float
    path_radius: float
    period: int
    visible: int
    phase: int
    middles: tuple[tuple[float, float], ...]
    resting: tuple[tuple[Item, float, float], ...]
    noise: float
    pixel_seed: int

    @property
    def label(self) -> str:
        """The scene's label, one of ``LABELS``."""
        return LABELS[self.label_id]

    @property
    def motion(self) -> str:
        """How the mover moves, one of ``MOTIONS``."""
        return MOTIONS[self.label_id % len(MOTIONS)]


def draw_scene(*, seed: int, split: str, index: int) -> Scene:
    """Draw the parameters of video ``index`` of a split; labels go round in order.

    Raises:
        ValueError: unknown split, or a negative seed or index.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must not be negative, got {seed} and {index}")
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    label_id = index % len(LABELS)
    kind, motion = KINDS[label_id // len(MOTIONS)], MOTIONS[label_id % len(MOTIONS)]
    fps = int(rng.choice([25, 30]))
    mover = _draw_item(rng, kind)
    frames = int(fps * rng.uniform(8, 10))
    period, visible = int(rng.integers(44, 57)), int(rng.integers(16, 21))
    speed, path_radius = float(rng.uniform(3.0, 4.5)), 0.0
    if motion == "circles":
        path_radius = float(rng.uniform(14, 20))
        speed = float(2 * math.pi * path_radius / visible * rng.choice([-1, 1]))
    reach = path_radius + mover.radius if path_radius else speed * visible / 2
    return Scene(
        label_id=label_id,
        fps=fps,
        frames=frames,
        mover=mover,
        spin=float(rng.uniform(-0.01, 0.01)),
        speed=speed,
        path_radius=path_radius,
        period=period,
        visible=visible,
        phase=int(rng.integers(period)),
        middles=tuple(_draw_middle(rng, reach) for _ in range(frames // period + 2)),
        resting=_draw_resting(rng, kind),
        noise=float(rng.uniform(1, 6)),
        pixel_seed=int(rng.integers(2**63)),
    )


def _draw_middle(rng: np.random.Generator, reach: float) -> tuple[float, float]:
    """A point around which a path of this reach stays inside every square crop."""
    x = rng.uniform(WIDTH - HEIGHT + _SHAKE + reach, HEIGHT - _SHAKE - reach)
    return float(x), float(rng.uniform(_SHAKE + reach, HEIGHT - _SHAKE - reach))


def _draw_item(rng: np.random.Generator, kind: str) -> Item:
    hue = _HUES[kind] + rng.normal(0, _HUE_SPREAD)
    saturation, value = rng.uniform(0.65, 1.0), rng.uniform(0.75, 1.0)
    return Item(
        kind=kind,
        radius=float(rng.uniform(12, 18)),
        color=_rgb(hue, saturation, value),
        second=_rgb(hue, saturation * 0.5, value * rng.uniform(0.25, 0.5)),
        angle=float(rng.uniform()),
    )


def _draw_resting(rng: np.random.Generator, kind: str) -> tuple[tuple[Item, float, float], ...]:
    others = [other for other in KINDS if other != kind]
    return tuple(
        (
            _draw_item(rng, others[int(rng.integers(len(others)))]),
            float(rng.uniform(0, WIDTH)),
            float(rng.uniform(0, HEIGHT)),
        )
        for _ in range(int(rng.integers(1, 5)))
    )


def _rgb(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    """HSV to RGB in 0..255; the hue is in turns and wraps."""
    red, green, blue = (
        255 * value * (1 - saturation * max(0.0, min(1.0, k, 4 - k)))
        for k in ((n + 6 * hue) % 6 for n in (5, 3, 1))
    )
    return red, green, blue


def position(scene: Scene, frame: int) -> tuple[float, float] | None:
    """Centre of the mover in pixels (x, y) before the camera's shake; None while it is away."""
    appearance, since = divmod(frame + scene.phase, scene.period)
    if since >= scene.visible:
        return None
    x, y = scene.middles[appearance]
    if scene.path_radius:
        turn = scene.speed / scene.path_radius * since + appearance
        return x + scene.path_radius * math.cos(turn), y + scene.path_radius * math.sin(turn)
    way = scene.speed * (since - (scene.visible - 1) / 2)
    across, down = DIRECTIONS[scene.motion]
    return x + across * way, y + down * way


def render(
    scene: Scene, *, step: int = 1, width: int = WIDTH, height: int = HEIGHT
) -> Iterator[NDArray[np.uint8]]:
    """The frames 0, step, 2*step, ... of a scene, each (height, width, 3) uint8 RGB.

    A frame does not depend on ``step``: rendering every fourth one gives the same pixels. All
    lengths of the scene grow with ``height``; a frame that is wider in proportion shows more of the
    backdrop on both sides.
    """
    rng = np.random.default_rng(scene.pixel_seed)
    scale = height / HEIGHT
    origin = (width - WIDTH * scale) / 2
    margin = math.ceil(_SHAKE * scale)
    backdrop = _backdrop(rng, scene, width + 2 * margin, height + 2 * margin, scale)
    for item, x, y in scene.resting:
        across, down = x * scale + origin + margin, y * scale + margin
        _paint(backdrop, _scaled(item, scale), across, down, item.angle)
    shake = _shake(rng, scene.frames)
    grain = np.rint(rng.normal(0, scene.noise, (height + 64, width + 64, 1))).astype(np.int16)
    corners = rng.integers(0, 64, (scene.frames, 2))
    mover = _scaled(scene.mover, scale)
    for frame in range(0, scene.frames, step):
        dx, dy = (round(int(v) * scale) for v in shake[frame])
        top, left = margin + dy, margin + dx
        picture = backdrop[top : top + height, left : left + width].copy()
        place = position(scene, frame)
        if place is not None:
            angle = scene.mover.angle + scene.spin * frame
            _paint(picture, mover, place[0] * scale + origin - dx, place[1] * scale - dy, angle)
        row, column = (int(v) for v in corners[frame])
        picture += grain[row : row + height, column : column + width]
        yield np.clip(picture, 0, 255).astype(np.uint8)


def _scaled(item: Item, scale: float) -> Item:
    return replace(item, radius=item.radius * scale)


def _shake(rng: np.random.Generator, frames: int) -> NDArray[np.int64]:
    """Offsets (frames, 2) of the camera: a random walk that is drawn back to rest."""
    steps = rng.normal(0, rng.uniform(0.2, 0.8), (frames, 2))
    offsets = np.zeros((frames, 2))
    for frame in range(1, frames):
        offsets[frame] = 0.95 * offsets[frame - 1] + steps[frame]
    return np.clip(np.rint(offsets), -_SHAKE, _SHAKE).astype(np.int64)


def _backdrop(
    rng: np.random.Generator, scene: Scene, width: int, height: int, scale: float
) -> NDArray[np.int16]:
    """Texture of three octaves, whose cells grow with the scale."""
    picture = np.tile(rng.uniform(40, 110) + rng.uniform(-15, 15, 3), (height, width, 1))
    contrast = rng.uniform(0.5, 1.0)
    for cell, strength in ((80, 30.0), (28, 20.0), (10, 12.0)):
        size = cell * scale
        rows, columns = int(height // size) + 2, int(width // size) + 2
        grey = rng.normal(0, 0.8, (rows, columns, 1)) + rng.normal(0, 0.25, (rows, columns, 3))
        down, across = _stretch(height, rows, size), _stretch(width, columns, size)
        smooth = np.einsum("hr,rcd->hcd", down, grey, optimize=True)
        picture += contrast * strength * np.einsum("wc,hcd->hwd", across, smooth, optimize=True)
    return np.clip(picture, 0, 255).astype(np.int16)


def _stretch(size: int, nodes: int, cell: float) -> NDArray[np.float64]:
    """Linear interpolation from nodes ``cell`` pixels apart to pixels: a (size, nodes) matrix."""
    places = np.arange(size)[:, None] / cell
    return np.maximum(0.0, 1.0 - np.abs(places - np.arange(nodes)[None, :]))


def _paint(canvas: NDArray[np.int16], item: Item, x: float, y: float, angle: float) -> None:
    """Draw an item onto a canvas in place, anti-aliased; what lies outside is cut off."""
    reach = item.radius + 2
    top, bottom = max(0, math.floor(y - reach)), min(canvas.shape[0], math.ceil(y + reach))
    left, right = max(0, math.floor(x - reach)), min(canvas.shape[1], math.ceil(x + reach))
    if top >= bottom or left >= right:
        return
    down = (np.arange(top, bottom)[:, None] - y) / item.radius
    across = (np.arange(left, right)[None, :] - x) / item.radius
    cos, sin = math.cos(2 * math.pi * angle), math.sin(2 * math.pi * angle)
    u, v = cos * across + sin * down, cos * down - sin * across
    inside, marked = _shape(item.kind, u, v)
    alpha = np.clip(0.5 + inside * item.radius, 0, 1)[..., None]
    color = np.where(marked[..., None], np.array(item.second), np.array(item.color))
    patch = canvas[top:bottom, left:right]
    patch[...] = np.rint(patch + alpha * (color - patch)).astype(np.int16)


def _shape(
    kind: str, u: NDArray[np.float64], v: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Signed depth below the outline (> 0 inside, in radii), and where the second color goes."""
    distance = np.sqrt(u * u + v * v)
    if kind == "ball":
        return 1 - distance, np.abs(v) < 0.28
    if kind == "box":
        return 0.86 - np.maximum(np.abs(u), np.abs(v)), (u > 0) == (v > 0)
    if kind == "star":
        lobe = np.cos(5 * np.arctan2(v, u))
        return 0.68 + 0.34 * lobe - distance, distance < 0.28
    return 0.32 - np.abs(distance - 0.68), distance < 0
