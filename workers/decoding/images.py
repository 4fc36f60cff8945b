"""Decodes the frames of a folder of pictures, as those of a video are decoded."""

from __future__ import annotations

import cv2
import numpy as np

from workers.decoding.clips import check_clips
from workers.decoding.colors import Pixels
from workers.decoding.container import check_pixels
from workers.decoding.frame_sample import sampled
from workers.decoding.frames import FrameStore
from workers.decoding.image_size import image_size
from workers.decoding.job import DecodeJob
from workers.decoding.plan import clip_times
from workers.decoding.result import Decoded
from workers.decoding.seek_window import Need
from workers.decoding.types import OPENCV_NO_MEMORY
from workers.failures import ErrorType, UnitFailure
from workers.io.frame_table import FrameTable

_COPIES = 3  # of a picture, which OpenCV may hold while it decodes


def decode(job: DecodeJob, table: FrameTable) -> Decoded:
    """Decodes the frames that the job's protocol takes from its unit; raises UnitFailure.

    A frame that is missing or cannot be decoded is lost, and the one before stands for it.
    """
    protocol, unit = job.protocol, job.unit
    sample = sampled(table.count, table.fps, unit, protocol)
    if protocol.every_s is not None:
        need = Need.of(protocol, unit.start_s, unit.end_s)
        end_s = table.count / table.fps
        check_clips(len(protocol.clip_numbers(need.start_s, min(need.end_s, end_s))), need, end_s)
    wanted, rows = np.unique(sample.clips, return_inverse=True)
    store = job.store(len(wanted))
    unreadable = _decode(job, table, wanted.tolist(), store)
    return Decoded(
        shape=store.shape,
        clip_frames=rows.reshape(sample.clips.shape),
        clip_times=clip_times(sample.times, sample.clips),
        frame_count=sample.last - sample.first,
        duration_s=sample.duration_s,
        lost_frames=table.lost + unreadable,
        first_clip=sample.first_clip,
    )


def _decode(job: DecodeJob, table: FrameTable, wanted: list[int], store: FrameStore) -> int:
    """Decodes frames into rows 0, 1, 2, … of the store; returns how many are unreadable."""
    spans = {index: (offset, size) for index, offset, size in table.spans}
    waiting: list[int] = []  # rows before the first frame that can be decoded
    last: Pixels | None = None
    good = 0
    for row, index in enumerate(wanted):
        job.progress.alive()
        picture = _picture(job, *spans[index]) if index in spans else None
        good += picture is not None
        last = last if picture is None else picture
        waiting.append(row)
        if last is not None:
            for each in waiting:
                store.place(each, last)
            waiting = []
    if 2 * good <= len(wanted):
        raise UnitFailure(
            ErrorType.corrupt,
            f"{good or 'none'} of the {len(wanted)} frames of the clips could be decoded; more "
            f"than half must be",
        )
    return len(spans) - good


def _picture(job: DecodeJob, offset: int, size: int) -> Pixels | None:
    """A decoded picture; None if it is damaged. Raises UnitFailure for too large a one."""
    data = job.source.read_at(offset, size)
    try:
        width, height = image_size(data)
    except ValueError:
        return None
    check_pixels(width, height, job.limits.max_pixels)
    job.progress.expect(frames=1, pixels=width * height)
    job.limits.check(job.progress.work)
    job.progress.reserve(_COPIES * 3 * width * height)
    try:
        found = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        if error.code == OPENCV_NO_MEMORY:
            raise
        return None
    return None if found is None else np.asarray(found, dtype=np.uint8)
