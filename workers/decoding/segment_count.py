"""How many segments a recording may be divided into: what its frames can fill.

Timestamps say how long a recording is, and a file of 1 kB can say 30 days. Its frames are counted
instead, as far as its bytes leave that open.
"""

from __future__ import annotations

import math
from itertools import islice

from workers.decoding.demuxer import Demuxer
from workers.decoding.types import MOST_UNITS, DecodeLimits
from workers.failures import ErrorType, UnitFailure
from workers.sampling import SAME_S, Protocol

# Clips of any recording; and clips that may start, on average, while one frame is shown. With a
# clip every 2 s, a recording of one frame a minute has 30: slides, time lapses and still cameras
# have fewer.
ANY_CLIPS = 1000
CLIPS_A_FRAME = 32

# A file with so many bytes for each frame that it needs is believed to have them, and its frames
# are not counted: 16 bytes a second where a clip is wanted every 2 s.
FRAME_BYTES = 1000


def check_segment_count(
    demuxer: Demuxer, duration_s: float, protocol: Protocol, limits: DecodeLimits
) -> None:
    """Raise UnitFailure where the video in ``demuxer`` would be divided into too many segments.

    ``limits.max_units`` is the limit where it is not None; else the number of frames decides, and
    MOST_UNITS.
    """
    if protocol.every_s is None:
        return
    units = math.ceil(duration_s / protocol.unit_s - SAME_S)
    long = f"by its timestamps the video is {duration_s:,.0f} s long"
    most = MOST_UNITS if limits.max_units is None else limits.max_units
    if units > most:
        raise UnitFailure(
            ErrorType.too_large,
            f"{long}, {units:,} segments of {protocol.unit_s:g} s; the limit is {most:,} and can "
            "be raised with --max-units-per-video",
        )
    if limits.max_units is not None:
        return
    clips = duration_s / protocol.every_s
    needed = math.ceil((clips - ANY_CLIPS) / CLIPS_A_FRAME)
    if needed <= demuxer.size // FRAME_BYTES:
        return
    frames = sum(1 for packet in islice(demuxer.from_start(), needed) if packet is not None)
    if frames < needed:
        raise UnitFailure(
            ErrorType.too_large,
            f"{long}, but has only {frames:,} frames for {clips:,.0f} clips, one every "
            f"{protocol.every_s:g} s; at least {needed:,} are required; --max-units-per-video "
            f"{units} labels it all the same",
        )
