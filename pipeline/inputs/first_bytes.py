"""Reads the first bytes of many files or objects in several threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from pipeline.inputs.video import Video
from pipeline.storage.addresses import local_path
from pipeline.storage.location import Location
from workers.failures import UnitFailure
from workers.io.fetching import open_source
from workers.io.parts import start_of

HEAD_BYTES = 2048
_READERS = 32
_AHEAD = 8 * _READERS

_Pending = tuple[Video, "Future[bytes | None] | None"]


def with_heads(
    videos: Iterable[Video], wanted: Callable[[Video], bool]
) -> Iterator[tuple[Video, bytes | None]]:
    """Yields each video with its file's first bytes; None if not wanted or not readable.

    Args:
        videos: the videos; a few hundred are read ahead.
        wanted: whether the bytes of a video are wanted.
    """

    def read(video: Video) -> bytes | None:
        try:
            if video.part is not None:
                part = start_of(video.part, HEAD_BYTES)
                if part is None:
                    return None
                with open_source(video.uri, part=part, etag=video.etag) as source:
                    return source.head(HEAD_BYTES)
            return Location(local_path(video.uri)).read_head(HEAD_BYTES)
        except (OSError, UnitFailure):
            return None  # decoding fails as well and gives the reason in the row

    waiting: deque[_Pending] = deque()
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="first-bytes")
    try:
        for video in videos:
            waiting.append((video, pool.submit(read, video) if wanted(video) else None))
            while waiting and (waiting[0][1] is None or len(waiting) > _AHEAD):
                yield _done(waiting.popleft())
        while waiting:
            yield _done(waiting.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _done(pending: _Pending) -> tuple[Video, bytes | None]:
    video, head = pending
    return video, None if head is None else head.result()
