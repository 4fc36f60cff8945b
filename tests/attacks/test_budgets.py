"""A small file cannot cost much: units of a recording, pixels to decode, and time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pyarrow as pa
import pytest

from pipeline.inputs.manifest import unit_spans
from tests import videos
from workers.decoding import DecodeLimits, SandboxedDecoder, Unit
from workers.decoding.segments import SegmentDecoder
from workers.failures import ErrorType, UnitFailure
from workers.io.fetching import open_source
from workers.measure_actor import DURATION, MeasureActor
from workers.sampling import Protocol, protocol

DENSE = protocol("videomae-k400", size=32, every_s=2.0)
DAY_S = 86_400


def slides(path: Path, *, frames: int, every_s: float) -> Path:
    """A video that shows each frame for ``every_s`` seconds: the packets of a short one, spread."""
    short = videos.write_video(path.with_name("short.mp4"), frames=20, options={"g": "1"})
    with av.open(str(short)) as reader, av.open(str(path), "w") as writer:
        packets = [packet for packet in reader.demux(video=0) if packet.size]
        copy = writer.add_stream_from_template(reader.streams.video[0])
        for number in range(frames):
            packet = av.Packet(bytes(packets[number % len(packets)]))
            packet.pts = packet.dts = round(number * every_s * 1000)
            packet.duration = round(every_s * 1000)
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 1000), copy, True
            writer.mux(packet)
    return path


def measured(path: Path, how: Protocol = DENSE, **limits: int) -> float:
    decoder = SegmentDecoder(how, DecodeLimits(**limits))
    try:
        with open_source(str(path)) as source:
            return decoder.measure(source)
    finally:
        decoder.close()


def test_two_frames_of_thirty_days_are_one_row_with_the_reason(tmp_path: Path) -> None:
    path = slides(tmp_path / "a.mkv", frames=2, every_s=15 * DAY_S)
    with pytest.raises(UnitFailure, match="only 2 frames for") as refused:
        measured(path)
    assert refused.value.error_type is ErrorType.too_large
    listed = pa.table({"video_id": ["v"], "uri": [str(path)]})
    (duration_s,) = MeasureActor(DENSE)(listed)[DURATION].to_pylist()
    ((start_s, end_s),) = unit_spans(duration_s, DENSE.unit_s)
    with SandboxedDecoder(DENSE) as decoder:
        row = decoder.decode(Unit("u", "v", str(path), start_s, end_s))
    assert isinstance(row, UnitFailure)
    assert (row.error_type, row.message) == (ErrorType.too_large, refused.value.message)


@pytest.mark.parametrize(
    ("frames", "every_s"),
    [(2, 600.0), (2000, 10.0), (300, 60.0)],
    ids=["two frames of ten minutes", "slides of 10 s", "a frame a minute"],
)
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
def test_sparse_recordings_are_labeled(
    name: str, frames: int, every_s: float, tmp_path: Path
) -> None:
    path = slides(tmp_path / name, frames=frames, every_s=every_s)
    assert measured(path) == pytest.approx(frames * every_s, rel=0.5)


def test_the_bound_of_clips_lies_at_32_for_each_frame(tmp_path: Path) -> None:
    """Beside those 1,000 that any recording may have."""
    path = slides(tmp_path / "a.mkv", frames=100, every_s=60.0)
    assert measured(path, protocol("videomae-k400", every_s=6000 / 4150)) == pytest.approx(6000)
    with pytest.raises(UnitFailure, match="for 4,250 clips"):
        measured(path, protocol("videomae-k400", every_s=6000 / 4250))


def test_max_units_per_video_overrides_the_bound(tmp_path: Path) -> None:
    path = slides(tmp_path / "a.mkv", frames=2, every_s=DAY_S)
    with pytest.raises(UnitFailure, match="--max-units-per-video 5400 labels it"):
        measured(path)
    assert measured(path, max_units=5400) == 2 * DAY_S
    with pytest.raises(UnitFailure, match="the limit is 5,399"):
        measured(path, max_units=5399)
    assert len(unit_spans(2 * DAY_S, DENSE.unit_s, max_units=5400)) == 5400
    assert unit_spans(2 * DAY_S, DENSE.unit_s, max_units=5399) == [(None, None)]
