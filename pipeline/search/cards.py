"""Cards of videos on a page: a frame, the video's name, and what was found out about it."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from pipeline.formatting import clock
from pipeline.reports.html.render import render
from pipeline.reports.html.report import Elements
from pipeline.search.query import ViewPlace
from pipeline.search.thumbnails import Thumbnail
from pipeline.search.video_rows import VideoRow

# The least width of a card in rem: two side by side on a phone.
_WIDTH = 9


def card(
    video: VideoRow, thumbnail: Thumbnail, headline: str, *, view: ViewPlace | None = None
) -> Markup:
    """A <figure> with the frame of a video, or why there is none.

    Args:
        video: the video.
        thumbnail: its frame.
        headline: what was found out, such as its cosine; may be empty.
        view: the view that the frame is of.
    """
    return Markup(
        render(
            "search/card.html.j2",
            video=video,
            thumbnail=thumbnail,
            headline=headline,
            times="" if view is None else times(view),
        )
    )


def cards(made: Sequence[Markup]) -> Elements:
    """Cards side by side."""
    return Elements(made, width=_WIDTH)


def times(view: ViewPlace) -> str:
    """Such as `3.2 to 5.3 s`, of long videos `1:02:03 to 1:02:05`."""
    if view.end_s < 60:
        return f"{view.start_s:.1f} to {view.end_s:.1f} s"
    return f"{clock(view.start_s)} to {clock(view.end_s)}"
