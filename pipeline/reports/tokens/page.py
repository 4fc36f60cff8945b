"""Page of one view: its frames and stages, the order of dropping, and the labels."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from pipeline.reports.html.render import render
from pipeline.reports.tokens.images import jpeg
from pipeline.reports.tokens.lookup import ViewRows
from pipeline.reports.tokens.predictions import UnprunedPrediction, ViewPrediction
from pipeline.reports.tokens.view import ViewTokens, dropped_at

_JPEG_QUALITY = 90

# Of the stages in turn; told apart by eyes that see few colors too, and from grey.
_COLORS = ("#4477aa", "#ccbb44", "#ee6677", "#aa3377", "#66ccee", "#228833")


def token_page(
    found: ViewRows,
    view: ViewTokens,
    prediction: ViewPrediction,
    unpruned: UnprunedPrediction | None,
) -> str:
    """The page of a view, with its frames and kept-token maps embedded.

    Args:
        found: the view's rows in the tables.
        view: the view.
        prediction: the run's prediction.
        unpruned: the unpruned model's prediction; None where the run itself is unpruned.
    """
    predictions: list[tuple[str, ViewPrediction | None]] = [
        ("With pruning" if unpruned else "Label", prediction)
    ]
    if unpruned:
        predictions.append(("Without pruning", unpruned.prediction))
    return render(
        "reports/tokens/view_page.html.j2",
        found=found,
        view=view,
        predictions=[
            _said(title, said, views=found.video["num_views"]) for title, said in predictions
        ],
        unpruned=unpruned,
        agree=_agree(prediction, unpruned),
        stages=_stages(view),
        data=_data(view),
        merges=len({stage.kept.shape for stage in view.stages}) > 1,
    )


def _agree(prediction: ViewPrediction, unpruned: UnprunedPrediction | None) -> bool | None:
    """Whether both labels are the same, None where one is missing."""
    if unpruned is None or unpruned.prediction is None:
        return None
    return prediction.label == unpruned.prediction.label


def _said(title: str, prediction: ViewPrediction | None, *, views: int) -> dict[str, Any]:
    """The parts of a prediction; of a video with one view only that of the video."""
    video, view = (None, None) if prediction is None else (prediction.video, prediction.view)
    if views == 1 and video:
        view = None
    parts = (("the whole video", video), ("this view", view))
    return {"title": title, "tops": [(of, top) for of, top in parts if top]}


def _stages(view: ViewTokens) -> list[dict[str, Any]]:
    return [
        {
            "number": number,
            "name": stage.name,
            "color": _COLORS[(number - 1) % len(_COLORS)],
            "tokens": stage.kept.size,
            "kept": int(stage.kept.sum()),
            "share": f"{100 * stage.kept.mean():.0f} %",
        }
        for number, stage in enumerate(view.stages, start=1)
    ]


def _data(view: ViewTokens) -> dict[str, Any]:
    """What the script draws: frames as JPEG, kept maps as bits in the order of `clips/`."""
    seconds = np.linspace(view.start_s, view.end_s, len(view.frames))
    order = dropped_at(view) if view.stages else np.zeros((0, 0, 0), dtype=np.int8)
    return {
        "height": view.frames.shape[1],
        "width": view.frames.shape[2],
        "slots": view.slots,
        "seconds": [round(float(second), 3) for second in seconds],
        "frames": [
            "data:image/jpeg;base64," + _text(jpeg(frame, _JPEG_QUALITY)) for frame in view.frames
        ],
        "stages": [
            {
                "name": stage.name,
                "cell": stage.cell,
                "rows": stage.kept.shape[1],
                "columns": stage.kept.shape[2],
                "color": _COLORS[number % len(_COLORS)],
                "kept": _text(np.packbits(stage.kept).tobytes()),
            }
            for number, stage in enumerate(view.stages)
        ],
        "order": _text(order.tobytes()),
    }


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
