"""Images of the tokens that a view kept: a sheet like the paper's Figure 4, and an animation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.reports.tokens.view import Pixels, ViewTokens, masked
from sta.text import displayed

_GAP = 4
_BETWEEN = (217, 222, 229)  # separates images whose border tokens were dropped
_MARGIN_LEFT, _MARGIN_TOP = 170, 46
_DPI = 100
_LETTER = 10  # the widest of letters, in pixels
# A sheet is not wider than this, however many temporal positions there are.
_SHEET_WIDTH = 2000
_TEXT: dict[str, Any] = {"fontfamily": "sans-serif", "fontsize": 9.5, "color": "#1c2430"}

_WEBP_QUALITY = 90
_SHORTEST_MS, _LONGEST_MS = 60, 500


def sheet(view: ViewTokens, *, tile: int | None = None, slots: list[int] | None = None) -> Pixels:
    """uint8 (height, width, 3): a column per frame, a row per stage, dropped tokens white.

    The first row is the frames as they are. A column is one temporal position, shown by its first
    frame.

    Args:
        view: the view.
        tile: width of an image in pixels, None for that of the frames.
        slots: the temporal positions to show; None for all.
    """
    shown = [view.first_frame(slot) for slot in (range(view.slots) if slots is None else slots)]
    rows = [[view.frames[frame] for frame in shown]]
    rows += [[masked(view, stage, frame) for frame in shown] for stage in range(len(view.stages))]
    return _grid([[_resized(image, tile) for image in row] for row in rows])


def write_sheet(view: ViewTokens, to: Path) -> None:
    """Writes `sheet` as a PNG with the names of its rows and columns.

    The images keep the size of the frames unless the sheet would be wider than a screen.
    """
    frame_height, frame_width = view.frames.shape[1:3]
    widest = max(48, (_SHEET_WIDTH - _MARGIN_LEFT) // view.slots - _GAP)
    tile = min(frame_width, widest)
    tile_height = _height(frame_height, frame_width, tile)
    grid = sheet(view, tile=tile)
    height, width = grid.shape[:2]
    canvas = (_MARGIN_LEFT + width + _GAP, _MARGIN_TOP + height + _GAP)
    figure = Figure(figsize=(canvas[0] / _DPI, canvas[1] / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.figimage(grid, xo=_MARGIN_LEFT, yo=_GAP, origin="upper")

    def write(x: float, y: float, text: str, **more: str) -> None:
        figure.text(x / canvas[0], 1 - y / canvas[1], text, **_TEXT | more)

    write(8, 16, _title(view, canvas[0] // _LETTER), va="center", fontweight="bold")
    for slot in range(view.slots):
        x = _MARGIN_LEFT + slot * (tile + _GAP) + tile / 2
        write(x, _MARGIN_TOP - 9, _seconds(view, view.first_frame(slot)), ha="center", va="center")
    for row, name in enumerate(_row_names(view)):
        write(8, _MARGIN_TOP + row * (tile_height + _GAP) + tile_height / 2, name, va="center")
    figure.savefig(to, dpi=_DPI)


def write_animation(view: ViewTokens, to: Path) -> None:
    """Writes an animation (.webp or .png) of the frames with the tokens that each stage kept."""
    animation = cv2.Animation()
    images = [panels(view, frame) for frame in range(len(view.frames))]
    animation.frames = [cv2.cvtColor(image, cv2.COLOR_RGB2BGR) for image in images]
    each = (view.end_s - view.start_s) * 1000 / max(1, len(images) - 1)
    animation.durations = [int(min(max(each, _SHORTEST_MS), _LONGEST_MS))] * len(images)
    if not cv2.imwriteanimation(str(to), animation, [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY]):
        raise OSError(f"cannot write {to}")


def panels(view: ViewTokens, frame: int) -> Pixels:
    """uint8 (S, width, 3): a frame, and the tokens of it that each stage kept, side by side."""
    stages = range(len(view.stages))
    return _grid([[view.frames[frame], *(masked(view, stage, frame) for stage in stages)]])


def jpeg(image: Pixels, quality: int) -> bytes:
    """A uint8 (height, width, 3) RGB image as JPEG."""
    made, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert made
    return bytes(data)


def _resized(image: Pixels, wide: int | None) -> Pixels:
    height, width = image.shape[:2]
    if wide is None or wide == width:
        return image
    size = (wide, _height(height, width, wide))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _height(height: int, width: int, wide: int) -> int:
    """Height of an image that is resized to a width."""
    return max(1, round(height * wide / width))


def _grid(rows: list[list[Pixels]]) -> Pixels:
    """Images of one size in rows, with a gap between them."""
    high, wide = rows[0][0].shape[:2]
    down, across = high + _GAP, wide + _GAP
    height, width = len(rows) * down - _GAP, len(rows[0]) * across - _GAP
    out = np.full((height, width, 3), _BETWEEN, dtype=np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            out[y * down : y * down + high, x * across : x * across + wide] = image
    return out


def _title(view: ViewTokens, letters: int) -> str:
    """The view's name in `letters` characters; of a long name its end, which is more specific."""
    place = f", clip {view.clip}, crop {view.crop}"
    name, room = displayed(view.video_id), max(1, letters - len(place))
    # A dollar sign would begin a formula.
    return (name if len(name) <= room else f"…{name[-room:]}").replace("$", r"\$") + place


def _seconds(view: ViewTokens, frame: int) -> str:
    share = frame / max(1, len(view.frames) - 1)
    return f"{view.start_s + share * (view.end_s - view.start_s):.2f} s"


def _row_names(view: ViewTokens) -> list[str]:
    names = ["frames"]
    for number, stage in enumerate(view.stages, start=1):
        kept = f"{stage.kept.sum():,} of {stage.kept.size:,} kept"
        names.append(f"stage {number}\n{stage.name}\n{kept}")
    return names
