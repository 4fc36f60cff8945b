"""A small file cannot cost much: units of a recording, pixels to decode, and time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.execution.worst_case import worst_case
from pipeline.inputs.manifest import MANIFEST_SCHEMA, unit_spans, write_manifest
from pipeline.inputs.video import Video
from pipeline.storage.location import Location
from tests import videos
from workers.decode_actor import DecodeActor
from workers.decoding import DecodedUnit, DecodeLimits, SandboxedDecoder, Unit
from workers.decoding.progress import DecodeWork
from workers.decoding.segments import SegmentDecoder
from workers.failures import ErrorType, UnitFailure
from workers.io.fetching import open_source
from workers.measure_actor import DURATION, MeasureActor
from workers.sampling import Protocol, protocol

WHOLE = protocol("videomae-k400", size=32)
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


def static_bomb(path: Path, frames: int) -> Path:
    """A static 4K video: a packet that changes nothing, many times."""
    with av.open(str(path), "w") as writer:
        # Error resilient: no frame's code depends on the frames before it.
        options = {"deadline": "realtime", "cpu-used": "8", "error-resilient": "default"}
        stream = writer.add_stream("libvpx-vp9", rate=30, options=options | {"lag-in-frames": "0"})
        stream.width, stream.height, stream.pix_fmt = 4096, 2160, "yuv420p"
        picture = av.VideoFrame(stream.width, stream.height, "yuv420p")
        for plane in picture.planes:
            plane.update(bytes(plane.buffer_size))
        packets = []
        for number in range(2):
            picture.pts = number
            packets += stream.encode(picture)
        packets += stream.encode(None)
        for number in range(frames):
            packet = av.Packet(bytes(packets[min(number, 1)]))
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = (
                Fraction(1, 30),
                stream,
                not number,
            )
            writer.mux(packet)
    return path


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One that is decoded at the end of the run, and one that is too large for its bytes."""
    folder = tmp_path_factory.mktemp("bombs")
    return static_bomb(folder / "late.webm", 130), static_bomb(folder / "large.webm", 4000)


def rows(actor: DecodeActor, files: list[Path]) -> list[dict[str, Any]]:
    columns = {name: [str(file) for file in files] for name in ("video_id", "uri")}
    nulls = [None] * len(files)
    manifest = pa.table(
        columns
        | {"unit_id": [str(number) for number in range(len(files))]}
        | {name: pa.array(nulls, MANIFEST_SCHEMA.field(name).type) for name in _UNKNOWN}
    )
    return [row for table in actor(manifest) for row in table.to_pylist()]


_UNKNOWN = ("size_bytes", "etag", "start_s", "end_s", "ground_truth")


def test_a_time_bomb_costs_a_decoder_less_than_a_good_video(
    bombs: tuple[Path, Path], tmp_path: Path
) -> None:
    """Its header and its packets are read; no decoder that others wait for decodes it."""
    good = videos.write_video(tmp_path / "good.mp4", frames=300, height=360, width=640)
    actor = DecodeActor(WHOLE, limits=DecodeLimits(quick=True))
    try:
        found = rows(actor, [*bombs, good] * 4)
    finally:
        actor.close()
    cost_ms: dict[str | None, list[float]] = {}
    for row in found:
        cost_ms.setdefault(row["error_type"], []).append(row["decode_ms"])
    assert cost_ms.keys() == {None, "deferred", "too_large"}
    cheapest_good = min(cost_ms[None])
    assert min(cost_ms["deferred"]) < cheapest_good
    assert min(cost_ms["too_large"]) < cheapest_good


def test_what_waits_for_the_end_is_then_decoded(bombs: tuple[Path, Path]) -> None:
    late, large = bombs
    with SandboxedDecoder(WHOLE) as decoder:
        decoded = decoder.decode(Unit("u", "v", str(late)))
        refused = decoder.decode(Unit("u", "v", str(large)))
    assert isinstance(decoded, DecodedUnit)
    assert decoded.frame_count == 130
    assert isinstance(refused, UnitFailure)
    assert refused.error_type is ErrorType.too_large
    assert "frames of 8,847,360 pixels must be decoded" in refused.message


def test_the_pixels_of_a_file_follow_from_its_bytes() -> None:
    """A minute of anything in full HD, and longer where a frame has about 100 bytes."""
    hd, limits = 1920 * 1080, DecodeLimits()
    limits.check(DecodeWork(size=0, frames=1800, pixels=hd))
    limits.check(DecodeWork(size=200_000_000, frames=30 * 7200, pixels=hd))
    still = DecodeWork(size=108 * 18_000, frames=18_000, pixels=hd)
    limits.check(still)
    with pytest.raises(UnitFailure, match="the limit for this size is 2,000 frames"):
        limits.check(DecodeWork(size=20_736, frames=18_000, pixels=hd))
    DecodeLimits(seconds=600).check(DecodeWork(size=20_736, frames=18_000, pixels=hd))
    with pytest.raises(UnitFailure, match="at the end of the run") as deferred:
        DecodeLimits(quick=True).check(still)
    assert deferred.value.error_type is ErrorType.deferred


def test_a_quick_attempt_is_short() -> None:
    quick, full = DecodeLimits(quick=True), DecodeLimits()
    for work in (DecodeWork(), DecodeWork(size=10**9, frames=None, pixels=1)):
        assert full.attempt_seconds(work) - quick.attempt_seconds(work) in (50.0, 0.0)
    assert quick.attempt_seconds(DecodeWork()) == 10
    assert DecodeLimits(quick=True, seconds=4).attempt_seconds(DecodeWork()) == 4


@pytest.mark.drill
def test_a_job_decodes_time_bombs_at_its_end(
    bombs: tuple[Path, Path], random_checkpoint: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    for number in range(4):
        shutil.copy(bombs[0], archive / f"bomb{number}.webm")
        videos.write_video(archive / f"good{number}.mp4")
    shutil.copy(bombs[1], archive / "large.webm")
    output = tmp_path / "out"
    job = [sys.executable, "jobs/label_k400.py", str(archive), str(output)]
    job += ["--checkpoint", str(random_checkpoint), "--views", "2x1", "--decoders", "1"]
    ended = subprocess.run(job, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Decoding 4 videos that take long for their size" in ended.stderr
    table = pq.read_table(output / "videos").sort_by("video_id")
    assert table["error_type"].to_pylist() == [None] * 8 + ["too_large"]
    made = dict(zip(*(pq.read_table(output / "units")[c].to_pylist() for c in _MADE), strict=True))
    assert max(made[f"good{n}.mp4"] for n in range(4)) < min(
        made[f"bomb{n}.webm"] for n in range(4)
    )


_MADE = ("video_id", "labeled_at")


def test_the_worst_case_follows_from_the_limits_and_the_sizes(tmp_path: Path) -> None:
    sizes, folder = [1000, 332_000, 10**8, 10**11], Location(str(tmp_path))
    listed = [Video(str(size), f"/{size}", size) for size in sizes]
    write_manifest(listed, folder)
    full, quick = DecodeLimits(), DecodeLimits(quick=True)
    each = [
        quick.attempt_seconds(work) + 2 * full.attempt_seconds(work)
        for work in (DecodeWork(size, None) for size in sizes)
    ]
    found = worst_case(folder, full, 4)
    assert found.file_s == pytest.approx(max(each))
    assert found.run_s == pytest.approx(sum(each) / 4)
    assert worst_case(folder, full, 4, looks=3).file_s == pytest.approx(3 * max(each))


def test_the_worst_case_of_a_recording_hardly_depends_on_its_segments(tmp_path: Path) -> None:
    folder = Location(str(tmp_path))
    few, many = (
        worst_case(folder, DecodeLimits(), 1)
        for length_s in (100.0, 10_000.0)
        if write_manifest([Video("a", "/a", 1000, duration_s=length_s)], folder, unit_s=10.0)
    )
    assert few.file_s == many.file_s == pytest.approx(3 * 10.04 + 4 * 60.04 + 600.04, abs=0.1)
    assert many.run_s - few.run_s == pytest.approx(2.0 * 990)
