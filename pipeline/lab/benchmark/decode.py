"""Benchmark of decoding: core time against the ffmpeg command and against decoding each view.

Every way of decoding is checked before it is timed: the wanted frames of a plain decode from start
to end, bit for bit.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.flags import flag
from pipeline.lab.benchmark.decoders import (
    FULL_SIZE,
    PROTOCOL,
    Sandboxed,
    all_frames,
    by_ffmpeg,
    check_equality,
    core_time,
    decode_here,
    difference,
    plain_views,
    views_here,
)
from pipeline.lab.benchmark.generated_videos import HEIGHT, RATE, WIDTH, write_clip
from pipeline.lab.benchmark.paired import Run, Spread, in_turn, ratio
from pipeline.lab.benchmark.report import Chart, Column, Report, conditions
from workers.decoding import DECODERS

_FULL, _RESIZED, _SANDBOXED = "full size, in the process", "resized, in the process", "sandboxed"
_FFMPEG, _PLAIN = "ffmpeg, every frame", "PyAV, every frame"
_SINGLY, _SINGLY_PLAIN = f"{PROTOCOL.views} views singly", f"{PROTOCOL.views} views singly, plain"

_CLIP_GOALS = {_FULL: 1.0, _SANDBOXED: 1.2}
_LONG_GOALS = {_FULL: 0.35, _SANDBOXED: 0.35}
_LONG_S = 120.0  # shorter recordings leave less to be passed over
_ONCE_GOALS = {_SINGLY_PLAIN: 8.0}


@dataclass(frozen=True)
class DecodeBenchmark:
    """What is measured; each field is a flag."""

    rounds: int = flag("how often each way of decoding is run", 15, metavar="N")
    videos: tuple[Path, ...] = flag(
        "files to measure on besides the clips that are made", (), metavar="FILE"
    )
    decoder: str = flag(
        "another decoder that is measured beside PyAV's; its frames are compared, and need not be "
        "the same to the bit",
        DECODERS[0],
        choices=DECODERS,
    )
    seconds: float = flag("length of the clips that are made", 10.0, metavar="S")
    long_seconds: float = flag(
        "length of the recording that is made, of which as few frames are used",
        _LONG_S,
        metavar="S",
    )

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, not {self.rounds}")
        if not 0 < self.seconds <= self.long_seconds:
            raise ValueError(
                f"seconds must be above 0 and at most long_seconds ({self.long_seconds:g}), "
                f"not {self.seconds:g}"
            )
        for video in self.videos:
            if not video.is_file():
                raise ValueError(f"no such file: {video}")


def run_decode(options: DecodeBenchmark, say: Callable[[str], None] = print) -> Report:
    """Checks and times the decoding of clips that it makes, and of ``options.videos``.

    Args:
        options: what to measure.
        say: told what is being done.

    Raises:
        OutputsDiffer: a way of decoding gives other frames than a plain decode.
        ValueError: a video of ``options.videos`` does not decode from start to end.
    """
    before = conditions(
        rounds=options.rounds,
        protocol=PROTOCOL.name,
        videos=[video.name for video in options.videos],
        decoder=options.decoder,
    )
    ffmpeg = shutil.which("ffmpeg")
    rows: list[dict[str, Any]] = []
    with ExitStack() as open_, tempfile.TemporaryDirectory() as folder:
        sandboxed, other = open_.enter_context(closing(Sandboxed())), None
        if options.decoder != sandboxed.name:
            other = open_.enter_context(closing(Sandboxed(options.decoder)))
        measure = _Measurer(options.rounds, ffmpeg, sandboxed, other, say)
        length = f"{options.seconds:g} s"
        usual = write_clip(Path(folder) / "usual.mp4", seconds=options.seconds)
        rows += measure.clip(f"made, {length}", usual)
        no_b = write_clip(Path(folder) / "no-b.mp4", seconds=options.seconds, b_frames=False)
        rows += measure.clip(f"no B-frames, {length}", no_b)
        for video in options.videos:
            rows += measure.clip(video.name, video)
        say("making a long recording")
        long = write_clip(Path(folder) / "long.mp4", seconds=options.long_seconds)
        goals = _LONG_GOALS if options.long_seconds >= _LONG_S else {}
        rows += measure.recording(f"made, {options.long_seconds:g} s", long, goals)
        start_s = None
        if ffmpeg is not None:
            shortest = write_clip(Path(folder) / "shortest.mp4", seconds=1 / RATE)
            run = by_ffmpeg(ffmpeg, shortest)
            start_s = Spread.of(in_turn({_FFMPEG: run}, rounds=options.rounds)[_FFMPEG])
    return _report(rows, before, start_s)


@dataclass(frozen=True)
class _Measurer:
    rounds: int
    ffmpeg: str | None
    sandboxed: Sandboxed
    other: Sandboxed | None
    say: Callable[[str], None]

    def clip(self, name: str, path: Path) -> list[dict[str, Any]]:
        """Rows of a video of which many frames are wanted: also its views singly."""
        frames = self._checked(name, path)
        runs = self._runs(path)
        runs[_SINGLY_PLAIN] = core_time(lambda: plain_views(path, frames))
        runs[_SINGLY] = core_time(lambda: views_here(path))
        cost = in_turn(runs, rounds=self.rounds)
        return self._rows(name, path, cost, _CLIP_GOALS)

    def recording(self, name: str, path: Path, goals: Mapping[str, float]) -> list[dict[str, Any]]:
        """Rows of a video of which few frames are wanted."""
        self._checked(name, path)
        cost = in_turn(self._runs(path), rounds=self.rounds)
        return self._rows(name, path, cost, goals)

    def _rows(
        self,
        name: str,
        path: Path,
        cost: Mapping[str, Sequence[float]],
        goals: Mapping[str, float],
    ) -> list[dict[str, Any]]:
        rows = [_row(name, what, cost, goals) for what in cost]
        if self.other is not None:
            same, off = difference(path, self.sandboxed, self.other)
            rows[list(cost).index(_sandboxed(self.other))] |= {"same": same, "off": off}
        return rows

    def _checked(self, name: str, path: Path) -> int:
        self.say(f"{name}: checking frames")
        frames = check_equality(path, self.sandboxed)
        self.say(f"{name}: decoding it {self.rounds} times in every way")
        return frames

    def _runs(self, path: Path) -> dict[str, Run]:
        runs = {} if self.ffmpeg is None else {_FFMPEG: by_ffmpeg(self.ffmpeg, path)}
        return runs | {
            _PLAIN: core_time(lambda: all_frames(path)),
            _FULL: core_time(lambda: decode_here(path, FULL_SIZE)),
            _RESIZED: core_time(lambda: decode_here(path)),
            _SANDBOXED: self.sandboxed.on(path),
            **({} if self.other is None else {_sandboxed(self.other): self.other.on(path)}),
        }


def _sandboxed(decoder: Sandboxed) -> str:
    return f"{_SANDBOXED}, {decoder.name}"


def _row(
    video: str, what: str, cost: Mapping[str, Sequence[float]], goals: Mapping[str, float]
) -> dict[str, Any]:
    singly = what in (_SINGLY, _SINGLY_PLAIN)
    reference = _FFMPEG if _FFMPEG in cost else _PLAIN
    return {
        "video": video,
        "what": what,
        "core_ms": Spread.of([seconds * 1000 for seconds in cost[what]]),
        "of_reference": None if singly else ratio(cost[what], cost[reference]),
        "at_most": goals.get(what),
        "of_plain": None if singly else ratio(cost[what], cost[_PLAIN]),
        "of_once": ratio(cost[what], cost[_RESIZED]) if singly else None,
        "at_least": _ONCE_GOALS.get(what),
    }


def _report(
    rows: Sequence[dict[str, Any]], before: Mapping[str, Any], start_s: Spread | None
) -> Report:
    reference = _PLAIN if start_s is None else "`ffmpeg -threads 1 -f null -`"
    compared = before["decoder"] != DECODERS[0]
    clips = f"{PROTOCOL.clips} x {PROTOCOL.frames} frames of {PROTOCOL.name}"
    notes = [
        f"The reference is {reference}. Wanted are the {clips}; videos that were made are "
        f"H.264 of {WIDTH} x {HEIGHT} pixels and {RATE} frames a second.",
        "Core time, all threads and the child's included; median (quartiles) of the rounds' own.",
        "Checked first, bit for bit: wanted frames equal those of a plain decode at full size; "
        "resized, sandboxed and single views equal these, resized.",
        f"{_SINGLY_PLAIN}: open, decode to the view's last frame, resize its 16; "
        f"{_SINGLY}: the same decoder, asked for a view at a time.",
    ]
    if start_s is not None:
        notes.append(
            f"{start_s.median * 1000:.0f} ms of ffmpeg's are its start and end: so much it takes "
            "for a video of one frame. PyAV's plain decode is the reference without it."
        )
    return Report(
        part="decode",
        title="Decoding: core time of the wanted frames against decoding every frame",
        columns=[*_columns(ffmpeg=start_s is not None), *(_COMPARED if compared else ())],
        rows=rows,
        conditions={
            **before,
            "reference": reference,
            "reference_start_ms": None if start_s is None else start_s.median * 1000,
        },
        chart=Chart(
            bar="of_reference",
            axis=f"core time over that of {reference}",
            labels=("video", "what"),
            mark="at_most",
        ),
        notes=notes,
    )


_COMPARED = (
    Column(
        "same", "same", "share of the frames that equal those of PyAV's decoder to the bit", ".2f"
    ),
    Column("off", "off", "mean difference of a color value from PyAV's decoder, 0 to 255", ".3f"),
)


def _columns(*, ffmpeg: bool) -> list[Column]:
    plain = Column("of_plain", "/ PyAV", "core time over decoding every frame with PyAV", ".2f")
    views = PROTOCOL.views
    return [
        Column("video", "video", "what was decoded"),
        Column("what", "decoded", "how it was decoded"),
        Column("core_ms", "core ms", "core time of all threads and processes, ms", ".1f"),
        Column(
            "of_reference",
            "/ ffmpeg" if ffmpeg else "/ PyAV",
            "core time over the reference's",
            ".2f",
        ),
        Column("at_most", "at most", "what the ratio to the reference is to be at most", ".2f"),
        *([plain] if ffmpeg else []),
        Column("of_once", "/ once", f"core time over one decode for all {views} views", ".1f"),
        Column("at_least", "at least", "what the ratio to one decode is to be at least", ".0f"),
    ]
