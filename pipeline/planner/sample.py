"""An even sample of the input, decoded as a run decodes it."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import RunError, UsageError
from pipeline.inputs.manifest import MANIFEST_SCHEMA, unit_id, unit_spans
from pipeline.inputs.video import Video
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import LabelPlan
from pipeline.planner.rates import DecodeCosts, Workload
from pipeline.planner.stride_sample import StrideSample
from pipeline.planner.unit_costs import Floats
from pipeline.run.earlier_runs import EarlierRuns, LeftOut
from sta.text import displayed
from workers.decode_actor import DecodeActor, FirstClips
from workers.decoding import DECODE_MODES, Measured, SandboxedDecoder, Unit
from workers.further_clips import LocalFurtherClips
from workers.label_actor import LabelActor
from workers.sampling import Protocol

_MAX_VIDEOS = 1024
_SEED = 0
_REASONS = 3
_PATIENCE = 10
_LABELED_AT_ONCE = 8
_TOLD = ["status", "error_type", "error", "decode_ms", "bytes_read", "duration_s"]


@dataclass(frozen=True)
class ListedInput:
    """What listing the input found.

    Attributes:
        videos: an even sample in random order.
        count: videos in all.
        bytes: of those whose size is known.
        sized: how many those are.
        seconds: what listing took.
    """

    videos: list[Video]
    count: int
    bytes: float
    sized: int
    seconds: float


@dataclass(frozen=True)
class Sampled:
    """Decoded units of the input.

    Attributes:
        decoded: what they cost.
        frames: DECODED_SCHEMA, the first of them, for labelers; None with early exit.
        views: float64 (n,) evaluated views of each; zeros without early exit.
        units_per_video: mean over the sampled videos.
        video_s: mean length of the sampled videos.
        video_bytes: mean size of those whose size is known; 0 if of none.
    """

    decoded: DecodeCosts
    frames: pa.Table | None
    views: Floats
    units_per_video: float
    video_s: float
    video_bytes: float


def listed(options: LabelOptions, earlier: EarlierRuns) -> ListedInput:
    """Lists the input without what earlier runs labeled, in memory for a sample.

    Raises:
        UsageError: there is no such input, or no video in it.
    """
    began = time.monotonic()
    sample: StrideSample[Video] = StrideSample(_MAX_VIDEOS)
    size = sized = 0
    new = earlier.new(options.listing().videos(), LeftOut())
    for video in islice(new, options.limit):
        sample.add(video)
        if video.size_bytes is not None:
            size += video.size_bytes
            sized += 1
    if not sample.seen:
        what = "new video" if earlier.runs else "video"
        raise UsageError(f"no {what} in {options.source}")
    videos = list(sample.kept)
    # Time may run out before the sample does; shuffled, what was decoded by then is an even sample.
    random.Random(_SEED).shuffle(videos)
    return ListedInput(videos, sample.seen, float(size), sized, time.monotonic() - began)


@dataclass(frozen=True)
class Decoding:
    """How the sample is decoded.

    Attributes:
        mode: one of DECODE_MODES.
        early_exit: whether only the clips are decoded that early exit asks for.
    """

    mode: str = DECODE_MODES[0]
    early_exit: bool = False

    @property
    def words(self) -> str:
        """For a line of progress."""
        said = [f"with --decode {self.mode} "] if self.mode != DECODE_MODES[0] else []
        return "".join(said + ["as early exit asks for "] * self.early_exit)


def decode_sample(
    found: ListedInput,
    options: LabelOptions,
    plan: LabelPlan,
    decoding: Decoding,
    *,
    seconds: float,
    keep: int,
) -> Sampled:
    """Decodes units of the sample one after another for `seconds`, or up to ten times as long until
    one is decoded.

    With early exit they are labeled too, a batch at a time, which tells the clips that each needs.

    Args:
        found: the sample.
        options: of the labeling job.
        plan: of the labeling job.
        decoding: how they are decoded.
        seconds: how long.
        keep: decoded units to keep the frames of.

    Raises:
        RunError: none of them could be decoded; the message holds the reasons.
    """
    taken, protocol = _Taken(keep), plan.protocol
    looks = protocol.looks() if decoding.early_exit else []
    actor = DecodeActor(
        protocol,
        options.decoder,
        options.limits,
        mode=decoding.mode,
        first=FirstClips(looks[0]) if len(looks) > 1 else None,
    )
    try:
        labeler = _labeler(plan, actor) if decoding.early_exit else None
        count = 1 if labeler is None else options.batch_size or _LABELED_AT_ONCE
        began = time.monotonic()
        for entries in _batches(_entries(found.videos, protocol), count):
            taken.decode(actor, entries, labeler)
            spent = time.monotonic() - began
            if spent >= seconds * (1 if taken.is_enough else _PATIENCE):
                break
    finally:
        actor.close()
    return taken.sampled(options.source)


def work_of(found: ListedInput, sampled: Sampled) -> Workload:
    """Estimate of the whole input from the sample, by bytes where sizes are known."""
    video_s, how = sampled.video_s * found.count, "by number"
    if found.sized and sampled.video_bytes:
        whole = found.bytes * found.count / found.sized
        video_s, how = sampled.video_s * whole / sampled.video_bytes, "by bytes"
    ratio = video_s / max(1e-9, sampled.video_s * found.count)
    units = found.count
    if sampled.units_per_video > 1:
        units = max(found.count, round(found.count * sampled.units_per_video * ratio))
    return Workload(
        videos=found.count,
        units=units,
        video_s=video_s,
        bytes=found.bytes,
        known_from=f"listed; hours estimated {how} from {len(sampled.decoded.size)} of them",
    )


class _Taken:
    """What was decoded so far."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._costs: list[tuple[float, ...]] = []
        self._frames: list[pa.Table] = []
        self._failed: Counter[str] = Counter()
        self._said: dict[str, str] = {}
        self._views: list[int] = []
        self._videos: list[tuple[float, float, int]] = []

    def decode(
        self, actor: DecodeActor, entries: Sequence[_Entry], labeler: LabelActor | None
    ) -> None:
        """Decodes units, and labels them where a labeler may ask for further clips."""
        looks = [_timed(actor, entry) for entry, _ in entries]
        if labeler is None:
            for look, (_, video) in zip(looks, entries, strict=True):
                self._add(look.row.select(_TOLD).to_pylist()[0], look, video)
                if self._costs and len(self._frames) < self._keep:
                    self._frames.append(look.row)
            return
        labeled = labeler(pa.concat_tables([look.row for look in looks])).to_pylist()
        for row, look, (_, video) in zip(labeled, looks, entries, strict=True):
            self._add(row, look, video)

    def _add(self, row: dict[str, Any], look: _Look, video: _Measured) -> None:
        """Adds a unit by its row; what its first look took grows by what its further clips took."""
        if row["status"] != "ok":
            reason = row["error_type"]
            self._failed[reason] += 1
            said = displayed(f"{video.video.video_id}: {row['error']}")
            self._said.setdefault(reason, said)
            return
        size, length = video.video.size_bytes or 0, row["duration_s"]
        cpu_s = look.cpu_s * row["decode_ms"] / max(1e-9, look.decode_ms)
        wait_s = look.wait_s * row["bytes_read"] / max(1, look.bytes_read)
        self._costs.append((size, row["bytes_read"], cpu_s, wait_s, length))
        self._views.append(len(row.get("margins") or ()))
        self._videos.append((video.seconds or length, size, video.units))

    @property
    def is_enough(self) -> bool:
        """Whether anything could be decoded."""
        return bool(self._costs)

    def sampled(self, source: str) -> Sampled:
        """The sums; RunError where nothing could be decoded."""
        if not self._costs:
            reasons = "; ".join(
                f"{count} {reason}, for example {self._said[reason]}"
                for reason, count in self._failed.most_common(_REASONS)
            )
            raise RunError(f"none of the sampled videos of {source} could be decoded: {reasons}")
        size, bytes_read, cpu_s, wait_s, length = np.array(self._costs, dtype=np.float64).T
        videos = np.array(self._videos, dtype=np.float64)
        known = videos[:, 1] > 0
        return Sampled(
            decoded=DecodeCosts(size, bytes_read, cpu_s, wait_s, length, dict(self._failed)),
            frames=pa.concat_tables(self._frames) if self._frames else None,
            views=np.array(self._views, dtype=np.float64),
            units_per_video=float(videos[:, 2].mean()),
            video_s=float(videos[:, 0].mean()),
            video_bytes=float(videos[known, 1].mean()) if known.any() else 0.0,
        )


@dataclass(frozen=True)
class _Look:
    """One decode of a unit: its decoded row, and what it took."""

    row: pa.Table
    cpu_s: float
    wait_s: float

    @property
    def decode_ms(self) -> float:
        """CPU time that the row states."""
        return float(self.row["decode_ms"][0].as_py() or 0.0)

    @property
    def bytes_read(self) -> int:
        """Bytes read from storage."""
        return int(self.row["bytes_read"][0].as_py() or 0)


def _timed(actor: DecodeActor, entry: pa.Table) -> _Look:
    """Decodes one unit, an entry of the manifest."""
    child = actor.child_pid
    began, cpu, queued = time.perf_counter(), time.process_time(), _queued_s(child)
    row = next(actor(entry))
    wall_s = time.perf_counter() - began
    cpu_s = time.process_time() - cpu + (row["decode_ms"][0].as_py() or 0.0) / 1e3
    if child == actor.child_pid:
        wall_s -= max(0.0, _queued_s(child) - queued)
    return _Look(row, cpu_s, max(0.0, wall_s - cpu_s))


def _labeler(plan: LabelPlan, actor: DecodeActor) -> LabelActor:
    """A labeler with the run's early exit, which asks this decoder for further clips."""
    assert plan.early_exit_file is not None
    config = dataclasses.replace(
        plan.labeler, compile=False, precision=plan.early_exit_file.precision
    )
    further = LocalFurtherClips(actor)
    return LabelActor(
        config, plan.protocol, early_exit=plan.early_exit_file.early_exit, further=further
    )


def _batches(entries: Iterator[_Entry], count: int) -> Iterator[list[_Entry]]:
    while batch := list(islice(entries, count)):
        yield batch


def _queued_s(child: int | None) -> float:
    """Seconds that this process and a child have waited for a core so far.

    This wait comes from other programs on this machine, which a run's own machine need not have, so
    it does not count as waiting for storage. 0 where the kernel does not report it.
    """
    total = 0.0
    for pid in ("self", str(child)):
        with contextlib.suppress(OSError, IndexError, ValueError):
            total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return total


@dataclass(frozen=True)
class _Measured:
    """A video, the number of its units, and its length where it had to be measured for that."""

    video: Video
    units: int
    seconds: float | None


_Entry = tuple[pa.Table, _Measured]


def _entries(videos: list[Video], protocol: Protocol) -> Iterator[_Entry]:
    """One unit of each video, as a row of a manifest: the whole of it, or a segment from its
    middle.
    """
    if protocol.every_s is None:
        for video in videos:
            yield _entry(video, None, None), _Measured(video, 1, None)
        return
    with SandboxedDecoder(protocol) as decoder:
        for video in videos:
            found = decoder.measure(
                Unit(video.video_id, video.video_id, video.uri, part=video.part)
            )
            seconds = found.duration_s if isinstance(found, Measured) else None
            spans = unit_spans(seconds, protocol.unit_s)
            start_s, end_s = spans[len(spans) // 2]
            yield _entry(video, start_s, end_s), _Measured(video, len(spans), seconds)


def _entry(video: Video, start_s: float | None, end_s: float | None) -> pa.Table:
    row = {
        "unit_id": unit_id(video.video_id, start_s, end_s),
        "video_id": video.video_id,
        "uri": video.uri,
        "part": video.part,
        "size_bytes": video.size_bytes,
        "etag": video.etag,
        "start_s": start_s,
        "end_s": end_s,
        "ground_truth": video.ground_truth,
    }
    return pa.Table.from_pylist([row], schema=MANIFEST_SCHEMA)
