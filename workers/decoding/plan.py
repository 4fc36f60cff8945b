"""Which packets must be decoded for the wanted frames: pure functions on a `PacketTable`.

A PacketTable has a row per packet, read without decoding. Frame i is the packet with the i-th
presentation timestamp. Decoding may start at an entry; from there, all packets are decoded up to
the last one that a wanted frame needs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from workers.decoding.bitstream import Reader
from workers.decoding.types import Unit
from workers.failures import ErrorType, UnitFailure
from workers.sampling import Protocol

REORDERED = 34  # packets between decoding and display order: 2 fields of at most 16 frames
MOST_SECONDS = 31 * 86_400.0  # timestamps that make a video longer are wrong
MOST_CLIPS = 20_000  # of one unit
JUMP_FRAMES = 24  # decoding fewer frames than this is cheaper than a flush and a seek

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PacketTable:
    """The packets of one stream in decoding order; all arrays (n,).

    ``pts`` and ``dts`` in ticks of ``tick_s`` seconds, NO_TIME where absent; ``duration`` in ticks,
    0 where unknown. ``shown``: holds a frame that no edit list cuts away. ``entry``: decoding may
    start here. ``keyframe``: as the container says.
    ``broken``: packets that the container marks or that could not be read. ``cut``: frames that a
    sample table names but that lie beyond the end of the file. ``doubtful``: packets that may hold
    several frames or a part of one.
    ``delay``: frames that the decoder holds back to put them in order. ``by_display``: the
    container says when packets are shown, and not only when they are decoded.

    ``checks``: for a container without an index, a checksum of every packet, to find it again.
    ``unread``: for packets whose contents were not read, what reads them when they are decoded:
    each must then hold one frame, and be an entry where the table has one. None if they were read.
    """

    pts: Ints
    dts: Ints
    duration: Ints
    shown: Bools
    entry: Bools
    keyframe: Bools
    tick_s: float
    frame_s: float
    broken: int
    cut: int
    doubtful: int
    delay: int
    by_display: bool
    checks: npt.NDArray[np.uint32] | None = None
    unread: Reader | None = None

    def timed(self) -> bool:
        """Whether every shown packet has its own presentation time, near its decoding order."""
        shown = self.pts[self.shown]
        if not len(shown) or self.broken or (shown == NO_TIME).any():
            return False
        moved = np.argsort(shown, kind="stable") - np.arange(len(shown))
        return len(np.unique(shown)) == len(shown) and int(np.abs(moved).max()) <= REORDERED

    def trustworthy(self) -> bool:
        """Whether a decode gives the shown packets' frames, in the order of their times.

        A decoder that holds back fewer frames than the reordering needs gives them in another
        order, or loses some.
        """
        if self.doubtful or not self.timed():
            return False
        return reordering(self.pts[self.pts != NO_TIME]) <= self.delay

    def ranks(self, *, by_display: bool) -> Ints | None:
        """The packets' times of display, or of decoding, in order; None unless each has its own.

        The first frame that comes out is shown at the first of them, and so on, also where two
        frames share a packet or a container notes times of decoding alone.
        """
        ticks = np.sort(self.pts if by_display else self.dts)
        known = len(ticks) > 0 and ticks[0] != NO_TIME and self.broken == 0
        return ticks if known and (ticks[1:] > ticks[:-1]).all() else None

    def led(self) -> bool:
        """Whether no frame is shown before that of the first packet: it could not be decoded."""
        return len(self.pts) > 0 and bool((self.pts[self.shown] >= self.pts[0]).all())

    def closed(self) -> bool:
        """Whether all groups of pictures are closed: each keyframe is an entry, shown first."""
        entries = np.flatnonzero(self.keyframe)
        if not len(entries) or entries[0] != 0 or not self.entry[entries].all():
            return False
        earliest_left = np.minimum.accumulate(self.pts[::-1])[::-1]
        return bool((earliest_left[entries] >= self.pts[entries]).all())

    def since(self, row: int, tick: int) -> PacketTable:
        """The table from ``row`` on, of which nothing is shown before the timestamp ``tick``.

        Its times are frames' own: there are no longer as many packets as frames.
        """
        return replace(
            self,
            by_display=True,
            pts=self.pts[row:],
            dts=self.dts[row:],
            duration=self.duration[row:],
            shown=self.shown[row:] & (self.pts[row:] >= tick),
            entry=self.entry[row:],
            keyframe=self.keyframe[row:],
            checks=None if self.checks is None else self.checks[row:],
        )

    def order(self) -> Ints:
        """(frames,) packet of each frame, in presentation order."""
        shown = np.flatnonzero(self.shown)
        return shown[np.argsort(self.pts[shown], kind="stable")]

    def entries(self) -> Ints:
        """Numbers of the frames, in presentation order, where decoding may start."""
        return np.flatnonzero(self.entry[self.order()])

    def times(self) -> Floats:
        """(frames,) expected seconds of each frame since the first; from the rate if need be."""
        count = int(self.shown.sum())
        ranks = self.ranked(count)
        if ranks is not None:
            return seconds(ranks, self.tick_s, self.frame_s)
        if not self.timed():
            return np.arange(count, dtype=np.float64) * self.frame_s
        return seconds(self.pts[self.order()], self.tick_s, self.frame_s)

    def ranked(self, frames: int) -> Ints | None:
        """(frames,) packets' times in order, where they and not frames' own tell; None elsewhere.

        That is where a packet may hold several frames, or where the container says only when
        packets are decoded, if there are as many packets as ``frames``.
        """
        if self.by_display and not self.doubtful:
            return None
        ranks = self.ranks(by_display=self.by_display)
        return ranks if ranks is not None and len(ranks) == frames else None


def seconds(ticks: Ints, tick_s: float, frame_s: float) -> Floats:
    """Seconds of every frame since the first, which ``ticks`` (n,) of ``tick_s`` seconds tell.

    If they do not increase from frame to frame, or make the video longer than MOST_SECONDS, they
    are ignored, and frames follow each other every ``frame_s`` seconds.
    """
    times = (ticks.astype(np.float64) - float(ticks[0])) * tick_s
    if (ticks[1:] > ticks[:-1]).all() and times[-1] <= MOST_SECONDS:
        return np.asarray((ticks - ticks[0]) * tick_s, dtype=np.float64)
    return np.arange(len(ticks), dtype=np.float64) * frame_s


def reordering(pts: Ints) -> int:
    """The most packets before one, in decoding order, that are shown after it."""
    after = np.zeros(len(pts), dtype=np.int64)
    for back in range(1, min(REORDERED + 1, len(pts))):
        after[back:] += pts[:-back] > pts[back:]
    return int(after.max(initial=0))


NO_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Selection:
    """Which frames of a video a unit needs.

    ``clips``: (clips, T) frame indices of the whole video; ``wanted``: the distinct ones,
    ascending; ``rows``: (clips, T), places in ``wanted``; ``numbers``: of the clips, None for all.
    """

    clips: Ints
    wanted: Ints
    rows: Ints
    numbers: tuple[int, ...] | None = None


def select(
    times: Floats, unit: Unit, protocol: Protocol, *, entries: Ints | None = None
) -> Selection:
    """The frames that ``protocol`` takes from ``unit``, given every frame's time in seconds.

    A frame belongs to the segment [start_s, end_s) that holds its time, so that neighboring
    segments share none. ``entries``: frames where decoding may start, to which clips are moved as
    in `moved_to_entries`. Raises UnitFailure if the segment holds no frame.
    """
    first = 0 if unit.start_s is None else int(np.searchsorted(times, unit.start_s))
    last = len(times) if unit.end_s is None else int(np.searchsorted(times, unit.end_s))
    if last <= first:
        raise UnitFailure(
            ErrorType.too_short,
            f"the segment has no frame; the video is {times[-1]:.2f} s long",
        )
    clips = first + protocol.clip_indices(last - first)
    if entries is not None:
        clips = moved_to_entries(clips, entries[(entries >= first) & (entries < last)], last)
    if unit.clips is not None:
        clips = clips[list(unit.clips)]
    wanted, rows = np.unique(clips, return_inverse=True)
    return Selection(clips, wanted, rows.reshape(clips.shape), unit.clips)


def moved_to_entries(clips: Ints, entries: Ints, end: int) -> Ints:
    """The clips, each moved as a whole so that its first frame is an entry.

    That is the nearest entry, where one lies within half a clip and the moved clip ends before the
    frame ``end``; other clips stay. Where a clip goes does not depend on the other clips.
    """
    moved = clips.copy()
    for row, clip in enumerate(clips):
        length = int(clip[-1] - clip[0])
        near = entries[(np.abs(entries - clip[0]) <= length // 2) & (entries + length < end)]
        if len(near) and (np.diff(clip) >= 0).all():
            moved[row] += near[np.argmin(np.abs(near - clip[0]))] - clip[0]
    return moved


def decoding_runs(entry: Bools, pts: Ints, packets: Ints) -> list[tuple[int, int]]:
    """Runs [first, last] of packets to decode so that the packets ``packets`` give their frames.

    A run starts at packet 0 or at an entry; a later entry is used where that leaves out JUMP_FRAMES
    packets or more. A picture shown before an entry that it follows in decoding order (a leading
    picture) is reached from the entry before. A run goes on to the last packet that is shown before
    a wanted one: whether each of them is a frame decides which number the wanted one has.
    """
    entries = np.flatnonzero(entry)
    runs: list[list[int]] = []
    spans = sorted((_entry_for(int(p), entries, pts), _last_before(int(p), pts)) for p in packets)
    for start, stop in spans:
        if runs and start - runs[-1][1] <= JUMP_FRAMES:
            runs[-1][1] = max(runs[-1][1], stop)
        else:
            runs.append([start, stop])
    return [(first, last) for first, last in runs]


def _entry_for(packet: int, entries: Ints, pts: Ints) -> int:
    candidates = entries[: np.searchsorted(entries, packet, side="right")]
    usable = candidates[pts[candidates] <= pts[packet]]
    return int(usable[-1]) if len(usable) else 0


def _last_before(packet: int, pts: Ints) -> int:
    """The last packet, in decoding order, that is not shown after ``packet``."""
    following = pts[packet : packet + REORDERED + 1]
    return packet + int(np.flatnonzero(following <= pts[packet])[-1])


def frames_to_decode(entry: Bools, pts: Ints, packets: Ints) -> int:
    """The number of packets in the `decoding_runs` of ``packets``."""
    return sum(last + 1 - first for first, last in decoding_runs(entry, pts, packets))


def clip_times(times: Floats, clips: Ints) -> Floats:
    """(clips, 2) seconds of each clip's first and last frame."""
    return np.asarray(times[clips[:, [0, -1]]], dtype=np.float64)


def length_s(times: Floats, last_s: float, frame_s: float) -> float:
    """Seconds of a video whose last frame is shown for ``last_s``, 0 where the file does not say.

    Then the usual gap between frames stands for it, or ``frame_s`` where there is one frame alone.
    So it does for a ``last_s`` that makes the video longer than MOST_SECONDS.
    """
    if not 0 < last_s <= MOST_SECONDS - times[-1]:
        last_s = float(np.median(np.diff(times))) if len(times) > 1 else frame_s
    return float(times[-1] + last_s)
