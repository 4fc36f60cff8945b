"""Pictures of what a view kept: a sheet like the paper's Figure 4, and a file that moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.reports.tokens.looks import Look, Pixels, masked

_GAP = 4
_BETWEEN = (217, 222, 229)  # tells where a picture ends whose tokens there were dropped
_MARGIN_LEFT, _MARGIN_TOP = 170, 46
_DPI = 100
_LETTER = 10  # the widest of letters, in pixels
# A sheet is not wider than this, however many time slots there are.
_SHEET_WIDTH = 2000
_TEXT: dict[str, Any] = {"fontfamily": "sans-serif", "fontsize": 9.5, "color": "#1c2430"}

_WEBP_QUALITY = 90
_SHORTEST_MS, _LONGEST_MS = 60, 500


def sheet(look: Look, *, tile: int | None = None, slots: list[int] | None = None) -> Pixels:
    """uint8 (height, width, 3): frames as columns, and rows with what each stage kept of them.

    The first row is the frames as they are, with `slots` (default: all time slots) as columns, of
    each the first frame.

    Args:
        look: the view.
        tile: side of a picture in pixels, None for that of the frames.
        slots: the time slots to show.
    """
    shown = [look.first_frame(slot) for slot in (range(look.slots) if slots is None else slots)]
    rows = [[look.frames[frame] for frame in shown]]
    rows += [[masked(look, stage, frame) for frame in shown] for stage in range(len(look.stages))]
    return _grid([[_resized(picture, tile) for picture in row] for row in rows])


def write_sheet(look: Look, to: Path) -> None:
    """Writes `sheet` as a PNG with the names of its rows and columns.

    The pictures keep the size of the frames unless the sheet became wider than a screen.
    """
    size = look.frames.shape[1]
    widest = max(48, (_SHEET_WIDTH - _MARGIN_LEFT) // look.slots - _GAP)
    tile = min(size, widest)
    grid = sheet(look, tile=tile)
    height, width = grid.shape[:2]
    canvas = (_MARGIN_LEFT + width + _GAP, _MARGIN_TOP + height + _GAP)
    figure = Figure(figsize=(canvas[0] / _DPI, canvas[1] / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.figimage(grid, xo=_MARGIN_LEFT, yo=_GAP, origin="upper")

    def write(x: float, y: float, text: str, **more: str) -> None:
        figure.text(x / canvas[0], 1 - y / canvas[1], text, **_TEXT | more)

    write(8, 16, _title(look, canvas[0] // _LETTER), va="center", fontweight="bold")
    for slot in range(look.slots):
        x = _MARGIN_LEFT + slot * (tile + _GAP) + tile / 2
        write(x, _MARGIN_TOP - 9, _seconds(look, look.first_frame(slot)), ha="center", va="center")
    for row, name in enumerate(_row_names(look)):
        write(8, _MARGIN_TOP + row * (tile + _GAP) + tile / 2, name, va="center")
    figure.savefig(to, dpi=_DPI)


def write_animation(look: Look, to: Path) -> None:
    """Writes a file that moves (.webp or .png) over the frames: as they are, and by each stage."""
    animation = cv2.Animation()
    pictures = [panels(look, frame) for frame in range(len(look.frames))]
    animation.frames = [cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) for picture in pictures]
    each = (look.end_s - look.start_s) * 1000 / max(1, len(pictures) - 1)
    animation.durations = [int(min(max(each, _SHORTEST_MS), _LONGEST_MS))] * len(pictures)
    if not cv2.imwriteanimation(str(to), animation, [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY]):
        raise OSError(f"cannot write {to}")


def panels(look: Look, frame: int) -> Pixels:
    """uint8 (S, width, 3): a frame as it is and what each stage kept of it, side by side."""
    stages = range(len(look.stages))
    return _grid([[look.frames[frame], *(masked(look, stage, frame) for stage in stages)]])


def jpeg(picture: Pixels, quality: int) -> bytes:
    """A uint8 (height, width, 3) RGB picture as JPEG."""
    made, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert made
    return bytes(data)


def _resized(picture: Pixels, side: int | None) -> Pixels:
    if side is None or side == len(picture):
        return picture
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA))


def _grid(rows: list[list[Pixels]]) -> Pixels:
    """Pictures of one size in rows, with a gap between them."""
    side = len(rows[0][0])
    step = side + _GAP
    height, width = len(rows) * step - _GAP, len(rows[0]) * step - _GAP
    out = np.full((height, width, 3), _BETWEEN, dtype=np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            out[y * step : y * step + side, x * step : x * step + side] = picture
    return out


def _title(look: Look, letters: int) -> str:
    """Which view this is, in so many letters; the end of a long name tells more than its start."""
    place = f", clip {look.clip}, crop {look.crop}"
    name, room = look.video_id, max(1, letters - len(place))
    # A dollar sign would begin a formula.
    return (name if len(name) <= room else f"…{name[-room:]}").replace("$", r"\$") + place


def _seconds(look: Look, frame: int) -> str:
    share = frame / max(1, len(look.frames) - 1)
    return f"{look.start_s + share * (look.end_s - look.start_s):.2f} s"


def _row_names(look: Look) -> list[str]:
    names = ["frames"]
    for number, stage in enumerate(look.stages, start=1):
        kept = f"{stage.kept.sum():,} of {stage.kept.size:,} kept"
        names.append(f"stage {number}\n{stage.name}\n{kept}")
    return names
