"""From the packets of a video to what is decoded: pure functions, no library.

A video is described by one PacketTable row per packet, read without decoding. Frame i is the packet
with the i-th presentation timestamp; which packets must be decoded for the wanted frames follows
from where decoding may start and which packets nothing refers to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from workers.decoding.units import Unit
from workers.failures import ErrorType, UnitFailure
from workers.sampling import Protocol

REORDERED = 34  # packets by which fields of pictures may be out of order; frames are at most 16
JUMP_FRAMES = 24  # a jump costs a flush and a seek; below this many frames decoding on is cheaper

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PacketTable:
    """The packets of one stream in decoding order; all arrays (n,).

    ``pts`` and ``dts`` in ticks of ``tick_s`` seconds, NO_TIME where absent; ``duration`` in ticks,
    0 where unknown. ``shown``: not cut away by an edit list. ``entry``: decoding may start here.
    ``keyframe``: as the container says.
    ``broken``: packets that the container marks or that could not be read. ``cut``: frames that a
    sample table names but that lie beyond the end of the file.

    Of a container without an index also: ``doubtful``: packets that may hold no frame, several or a
    part of one. ``checks``: a checksum of every packet's bytes, by which it is found again.
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
    doubtful: int = 0
    checks: npt.NDArray[np.uint32] | None = None

    def trustworthy(self) -> bool:
        """Whether every shown packet has a presentation time of its own, near its place."""
        shown = self.pts[self.shown]
        if not len(shown) or self.broken or self.doubtful or (shown == NO_TIME).any():
            return False
        moved = np.argsort(shown, kind="stable") - np.arange(len(shown))
        return len(np.unique(shown)) == len(shown) and int(np.abs(moved).max()) <= REORDERED

    def since(self, row: int, tick: int) -> PacketTable:
        """The table from ``row`` on, of which nothing is shown before the timestamp ``tick``."""
        return replace(
            self,
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

    def times(self) -> Floats:
        """(frames,) expected seconds of each frame since the first; from the rate if need be."""
        if not self.trustworthy():
            return np.arange(int(self.shown.sum()), dtype=np.float64) * self.frame_s
        ticks = self.pts[self.order()]
        return np.asarray((ticks - ticks[0]) * self.tick_s, dtype=np.float64)


NO_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Selection:
    """Which frames of a video a unit needs.

    ``clips``: (clips, T) frame indices of the whole video; ``wanted``: the distinct ones,
    ascending; ``rows``: (clips, T), places in ``wanted``.
    """

    clips: Ints
    wanted: Ints
    rows: Ints


def select(times: Floats, unit: Unit, protocol: Protocol) -> Selection:
    """The frames that ``protocol`` takes from ``unit``, given every frame's time in seconds.

    A frame belongs to the stretch [start_s, end_s) that holds its time, so that neighbouring
    stretches share none. Raises UnitFailure if the stretch holds no frame.
    """
    first = 0 if unit.start_s is None else int(np.searchsorted(times, unit.start_s))
    last = len(times) if unit.end_s is None else int(np.searchsorted(times, unit.end_s))
    if last <= first:
        raise UnitFailure(
            ErrorType.too_short,
            f"no frame lies in this stretch; the video is {times[-1]:.2f} s long",
        )
    clips = first + protocol.clip_indices(last - first)
    wanted, rows = np.unique(clips, return_inverse=True)
    return Selection(clips, wanted, rows.reshape(clips.shape))


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


def clip_times(times: Floats, clips: Ints) -> Floats:
    """(clips, 2) seconds of each clip's first and last frame."""
    return np.asarray(times[clips[:, [0, -1]]], dtype=np.float64)


def length_s(times: Floats, last_s: float, frame_s: float) -> float:
    """Seconds of a video whose last frame is shown for ``last_s``, 0 where the file does not say.

    Then the usual gap between frames stands for it, or ``frame_s`` where there is one frame alone.
    """
    if last_s <= 0:
        last_s = float(np.median(np.diff(times))) if len(times) > 1 else frame_s
    return float(times[-1] + last_s)
