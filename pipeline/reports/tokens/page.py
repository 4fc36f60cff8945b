"""One page of one view: frames and stages by sliders, the order in which tokens went, labels."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from pipeline.reports.html.render import render
from pipeline.reports.tokens.answers import Answer, Unpruned
from pipeline.reports.tokens.looks import Look, dropped_at
from pipeline.reports.tokens.lookup import Found
from pipeline.reports.tokens.pictures import jpeg

_JPEG_QUALITY = 90

# Of the stages in turn; told apart by eyes that see few colors too, and from grey.
_COLORS = ("#4477aa", "#ccbb44", "#ee6677", "#aa3377", "#66ccee", "#228833")


def token_page(found: Found, look: Look, answer: Answer, unpruned: Unpruned | None) -> str:
    """The page, with the frames and maps inside.

    Args:
        found: the rows that it is about.
        look: the view.
        answer: what the run says.
        unpruned: what the model without pruning says; None where the run itself is that.
    """
    answers: list[tuple[str, Answer | None]] = [("With pruning" if unpruned else "Label", answer)]
    if unpruned:
        answers.append(("Without pruning", unpruned.answer))
    return render(
        "reports/tokens/show.html.j2",
        found=found,
        look=look,
        answers=[_said(title, said, views=found.video["clips"]) for title, said in answers],
        unpruned=unpruned,
        agree=_agree(answer, unpruned),
        stages=_stages(look),
        data=_data(look),
        merges=len({stage.kept.shape for stage in look.stages}) > 1,
    )


def _agree(answer: Answer, unpruned: Unpruned | None) -> bool | None:
    """Whether both labels are the same, None where one is missing."""
    if unpruned is None or unpruned.answer is None:
        return None
    return answer.label == unpruned.answer.label


def _said(title: str, answer: Answer | None, *, views: int) -> dict[str, Any]:
    """An answer with what each part is of; the one view of a video says what the video says."""
    video, view = (None, None) if answer is None else (answer.video, answer.view)
    if views == 1 and video:
        view = None
    parts = (("the whole video", video), ("this view", view))
    return {"title": title, "tops": [(of, top) for of, top in parts if top]}


def _stages(look: Look) -> list[dict[str, Any]]:
    return [
        {
            "number": number,
            "name": stage.name,
            "color": _COLORS[(number - 1) % len(_COLORS)],
            "tokens": stage.kept.size,
            "kept": int(stage.kept.sum()),
            "share": f"{100 * stage.kept.mean():.0f} %",
        }
        for number, stage in enumerate(look.stages, start=1)
    ]


def _data(look: Look) -> dict[str, Any]:
    """What the script draws: frames as JPEG, kept maps as bits in the order of `clips/`."""
    seconds = np.linspace(look.start_s, look.end_s, len(look.frames))
    order = dropped_at(look) if look.stages else np.zeros((0, 0, 0), dtype=np.int8)
    return {
        "size": look.frames.shape[1],
        "slots": look.slots,
        "seconds": [round(float(second), 3) for second in seconds],
        "frames": [
            "data:image/jpeg;base64," + _text(jpeg(frame, _JPEG_QUALITY)) for frame in look.frames
        ],
        "stages": [
            {
                "name": stage.name,
                "cell": stage.cell,
                "side": stage.kept.shape[1],
                "color": _COLORS[number % len(_COLORS)],
                "kept": _text(np.packbits(stage.kept).tobytes()),
            }
            for number, stage in enumerate(look.stages)
        ],
        "order": _text(order.tobytes()),
    }


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
