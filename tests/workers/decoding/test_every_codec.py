"""For every codec and container that FFmpeg here can write, frames are those of FFmpeg's decode."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
import pytest

from pipeline.inputs.manifest import unit_spans
from tests import videos
from tests.workers import codec_videos as codecs
from workers.decoding import DecodedUnit, SandboxedDecoder, pyav
from workers.decoding.job import DecodeJob
from workers.decoding.result import Decoded
from workers.decoding.segments import SegmentDecoder
from workers.decoding.types import DecodeLimits, Unit
from workers.failures import UnitFailure
from workers.io.fetching import open_source
from workers.sampling import Protocol, protocol

pytestmark = pytest.mark.filterwarnings("ignore")

WHOLE = (protocol("videomae-k400", size=32), protocol("videoswin-k400", size=32))
DENSE = protocol("videomae-k400", size=32, every_s=0.4, views=(2, 1))
MUXERS = codecs.muxers()
# With FFmpeg, a program stream's timestamps are up to a frame away from those that were written,
# and these raw streams have the frame rate of their standard.
UNTIMED = {"mpeg", "h261", "h263"}
LIMITS = DecodeLimits(allow_codecs=codecs.decodable())
USUAL = {"libx264", "libx265", "libsvtav1", "libvpx", "libvpx-vp9", "mpeg4", "mpeg2video", "mjpeg"}


@dataclass
class Truth:
    """What a sequential decode gives, and by which demuxer."""

    frames: list[videos.Pixels]
    format: str

    @classmethod
    def of(cls, path: Path) -> Truth | None:
        """None where FFmpeg itself finds no video, or says that it could not decode it soundly."""
        try:
            with av.open(str(path)) as container:
                stream = container.streams.best("video")
                if stream is None or stream.codec_context is None:
                    return None
                assert isinstance(stream, av.VideoStream)
                stream.codec_context.thread_count = 1
                name = container.format.name
                if name.endswith("_pipe") or any(f.is_corrupt for f in container.decode(stream)):
                    return None
        except av.error.FFmpegError:
            return None
        frames = videos.sequential_frames(path)
        return cls(frames, name) if frames else None

    def resized(self, index: int, height: int, width: int) -> videos.Pixels:
        return videos.resize(self.frames[index], height, width)


class Decode:
    """Decodes in this process, and keeps the pixels."""

    def __init__(self) -> None:
        self.pixels = np.zeros((0, 1, 1, 3), dtype=np.uint8)

    def _allocate(self, shape: tuple[int, int, int, int]) -> videos.Pixels:
        self.pixels = np.zeros(shape, dtype=np.uint8)
        return self.pixels

    def whole(self, path: Path, how: Protocol) -> Decoded:
        unit = Unit("u", "v", str(path))
        with open_source(str(path)) as source:
            return pyav.decode(DecodeJob(source, unit, how, LIMITS, self._allocate))

    def segments(self, path: Path, edges: list[float]) -> list[tuple[Decoded, videos.Pixels]]:
        decoder, found = SegmentDecoder(DENSE, LIMITS), []
        ends: list[float | None] = [*edges[1:], None]
        try:
            with open_source(str(path)) as source:
                for start, end in zip(edges, ends, strict=True):
                    unit = Unit("u", "v", str(path), start, end)
                    found.append((decoder.decode(source, unit, self._allocate), self.pixels))
        finally:
            decoder.close()
        return found


def assert_equal_to_sequential(path: Path, reference: Truth, *, rate: int = codecs.RATE) -> None:
    count = len(reference.frames)
    for how in WHOLE:
        decode = Decode()
        result = decode.whole(path, how)
        assert (result.frame_count, result.lost_frames) == (count, 0)
        height, width = result.shape[1:3]
        clips = how.clip_indices(count)
        assert result.clip_frames.shape == clips.shape
        for index, row in pairs(clips, result.clip_frames):
            expected = reference.resized(index, height, width)
            assert np.array_equal(decode.pixels[row], expected), f"{how.name}: frame {index}"
        if reference.format not in UNTIMED:
            assert result.duration_s == pytest.approx(count / rate, abs=0.021)
    assert_segments_equal(path, reference, rate)


def assert_segments_equal(path: Path, reference: Truth, rate: int) -> None:
    """Segment by segment as in one piece, and with each frame at its time."""
    count = len(reference.frames)
    edges = [start or 0.0 for start, _ in unit_spans(count / rate, DENSE.unit_s)]
    results = Decode().segments(path, edges)
    assert sum(result.frame_count for result, _ in results) == count
    assert [result.lost_frames for result, _ in results] == [0] * len(results)
    whole, whole_pixels = Decode().segments(path, [0.0])[0]
    clip = 0
    for result, pixels in results:
        for rows in result.clip_frames:
            one = whole_pixels[whole.clip_frames[clip]]
            assert np.array_equal(pixels[rows], one), f"clip {clip} differs by where a file is cut"
            clip += 1
    assert clip == len(whole.clip_frames)
    if reference.format in UNTIMED:
        return
    expected = DENSE.dense_indices(np.arange(count) / rate, range(clip))
    for index, row in pairs(expected, whole.clip_frames):
        wanted = reference.resized(index, *whole.shape[1:3])
        assert np.array_equal(whole_pixels[row], wanted), f"frame {index} is not at its time"


def pairs(indices: np.ndarray, rows: np.ndarray) -> set[tuple[int, int]]:
    return set(zip(indices.ravel().tolist(), rows.ravel().tolist(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("encoder", codecs.encoders())
def test_frames_equal_a_sequential_decode_in_every_container(encoder: str, tmp_path: Path) -> None:
    wrong, tried = [], 0
    for number, options in enumerate(codecs.OPTIONS.get(encoder, [{}])):
        for muxer in MUXERS:
            path = tmp_path / f"{number}.{muxer}"
            try:
                codecs.write(path, muxer, encoder, options)
            except (av.error.FFmpegError, ValueError):
                continue
            reference = Truth.of(path)
            if reference is None:
                continue
            tried += 1
            try:
                assert_equal_to_sequential(path, reference)
            except (AssertionError, UnitFailure) as error:
                wrong.append(f"{muxer} {options} as {reference.format}: {str(error)[:200]}")
            path.unlink()
    assert not wrong, "\n".join(wrong)
    if not tried and encoder not in USUAL:
        pytest.skip("FFmpeg finds the pictures of this encoder in no container that it writes")
    assert tried


def test_the_codecs_of_the_field_are_among_them() -> None:
    assert set(codecs.encoders()) >= USUAL
    assert set(MUXERS) >= {"mp4", "mov", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf"}


OPEN = {"x264-params": "open-gop=1:keyint=12:bframes=3"}
WITH_B = {
    "mpeg4": {"bf": "2"},
    "mpeg2video": {"bf": "2"},
    "libx264": OPEN,
    "libx265": {"x265-params": "log-level=none:keyint=12"},
}


def written(folder: Path, name: str, encoder: str, options: dict[str, str]) -> Path:
    path = folder / name
    codecs.write(path, {"mkv": "matroska"}.get(path.suffix[1:], path.suffix[1:]), encoder, options)
    return path


def truth_of(path: Path) -> Truth:
    reference = Truth.of(path)
    assert reference is not None
    return reference


@pytest.mark.parametrize("suffix", ["avi", "mp4", "mkv", "mov"])
def test_packed_b_frames_come_in_the_order_of_a_sequential_decode(
    suffix: str, tmp_path: Path
) -> None:
    plain = written(tmp_path, "plain.avi", "mpeg4", {"bf": "2"})
    path = codecs.packed(plain, tmp_path / f"packed.{suffix}")
    reference = truth_of(path)
    assert len(reference.frames) == codecs.FRAMES
    assert np.array_equal(reference.frames[:-1], videos.sequential_frames(plain)[:-1])
    assert_equal_to_sequential(path, reference)


@pytest.mark.parametrize(
    "encoder", ["mpeg4", "mpeg2video", "libx264", "libx265", "libvpx-vp9", "libsvtav1", "mjpeg"]
)
def test_what_an_mp4_calls_a_keyframe_is_not_believed(encoder: str, tmp_path: Path) -> None:
    options = WITH_B.get(encoder) or codecs.OPTIONS.get(encoder, [{}])[-1]
    path = written(tmp_path, "a.mp4", encoder, options)
    if encoder != "mjpeg":  # every picture is a keyframe, and there is no table to lose
        path = codecs.without_sync_samples(path, tmp_path / "b.mp4")
    assert_equal_to_sequential(path, truth_of(path))


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("encoder", WITH_B)
def test_what_an_edit_list_cuts_away_is_not_in_the_video(
    encoder: str, suffix: str, tmp_path: Path
) -> None:
    whole = written(tmp_path, f"whole.{suffix}", encoder, WITH_B[encoder])
    path = videos.cut_copy(whole, tmp_path / f"cut.{suffix}", skip=7)
    reference = truth_of(path)
    assert 0 < len(reference.frames) < codecs.FRAMES
    assert_equal_to_sequential(path, reference)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("encoder", WITH_B)
def test_pictures_that_refer_to_what_was_cut_away_are_not_counted(
    encoder: str, suffix: str, tmp_path: Path
) -> None:
    """A copy that begins within a stream, as ``ffmpeg -ss 5 -c copy`` makes it."""
    muxer = {"ts": "mpegts", "mkv": "matroska"}.get(suffix, suffix)
    whole = tmp_path / f"whole.{suffix}"
    codecs.write(whole, muxer, encoder, WITH_B[encoder])
    path = codecs.begun_later(whole, tmp_path / f"later.{suffix}", keyframe=2)
    reference = videos.sequential_frames(path)
    for how in WHOLE:
        decode = Decode()
        result = decode.whole(path, how)
        assert result.frame_count == len(reference)
        height, width = result.shape[1:3]
        for index, row in pairs(how.clip_indices(len(reference)), result.clip_frames):
            expected = videos.resize(reference[index], height, width)
            assert np.array_equal(decode.pixels[row], expected), f"{how.name}: frame {index}"
    results = Decode().segments(path, [0.0, 0.8])
    assert sum(result.frame_count for result, _ in results) == len(reference)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("encoder", ["libx264", "mpeg4", "mpeg2video"])
def test_frames_whose_timestamps_lie_about_their_order_come_as_they_are_decoded(
    encoder: str, suffix: str, tmp_path: Path
) -> None:
    whole = written(tmp_path, f"whole.{suffix}", encoder, WITH_B[encoder])
    path = codecs.timed_in_decoding_order(whole, tmp_path / f"lying.{suffix}")
    reference = truth_of(path)
    decode = Decode()
    for how in WHOLE:
        result = decode.whole(path, how)
        for index, row in pairs(how.clip_indices(len(reference.frames)), result.clip_frames):
            assert np.array_equal(decode.pixels[row], reference.resized(index, *result.shape[1:3]))
    results = Decode().segments(path, [0.0, 0.8, 1.6])
    assert sum(result.frame_count for result, _ in results) == len(reference.frames)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "nut"])
def test_no_timestamp_makes_a_video_longer_than_a_month(suffix: str, tmp_path: Path) -> None:
    whole = written(tmp_path, f"whole.{suffix}", "libx264", {"bf": "0"})
    path = codecs.ending_at(whole, tmp_path / f"garbage.{suffix}", seconds=60 * 86_400)
    result = Decode().whole(path, WHOLE[0])
    assert result.frame_count == codecs.FRAMES
    assert result.duration_s == pytest.approx(codecs.FRAMES / codecs.RATE, abs=0.1)
    assert result.clip_times.max() < result.duration_s


@pytest.fixture(scope="module")
def decord() -> Iterator[SandboxedDecoder]:
    pytest.importorskip("decord")
    with SandboxedDecoder(WHOLE[0], decoder="decord") as sandbox:
        yield sandbox


def assert_decord_is_right(decord: SandboxedDecoder, path: Path) -> None:
    reference = truth_of(path)
    result = decord.decode(Unit("u", "v", str(path)))
    assert isinstance(result, DecodedUnit), result
    assert result.attempts == 1
    assert result.frame_count == len(reference.frames)
    assert result.duration_s == pytest.approx(len(reference.frames) / codecs.RATE, abs=0.021)
    for index, row in pairs(WHOLE[0].clip_indices(len(reference.frames)), result.clip_frames):
        expected = reference.resized(index, *result.frames.shape[1:3])
        assert np.array_equal(result.frames[row], expected), f"frame {index}"


@pytest.mark.slow
@pytest.mark.parametrize("encoder", sorted(USUAL))
def test_decord_too_gives_the_frames_of_a_sequential_decode(
    encoder: str, tmp_path: Path, decord: SandboxedDecoder
) -> None:
    for options in codecs.OPTIONS.get(encoder, [{}]):
        for muxer in ("mp4", "mov", "matroska", "webm", "avi", "mpegts"):
            path = tmp_path / f"a.{muxer}"
            try:
                codecs.write(path, muxer, encoder, options)
            except (av.error.FFmpegError, ValueError):
                continue
            if Truth.of(path) is not None:
                assert_decord_is_right(decord, path)


def test_decord_does_not_decode_what_it_would_get_wrong(
    tmp_path: Path, decord: SandboxedDecoder
) -> None:
    plain = written(tmp_path, "plain.avi", "mpeg4", {"bf": "2"})
    listed = written(tmp_path, "listed.mp4", "mpeg4", {})
    whole = written(tmp_path, "whole.mp4", "libx264", OPEN)
    for path in (
        codecs.packed(plain, tmp_path / "packed.avi"),
        codecs.packed(plain, tmp_path / "packed.mp4"),
        codecs.without_sync_samples(listed, tmp_path / "unlisted.mp4"),
        videos.cut_copy(whole, tmp_path / "cut.mp4", skip=7),
    ):
        assert_decord_is_right(decord, path)


@pytest.mark.parametrize("encoder", sorted(USUAL))
def test_writing_a_video_leaves_the_scheduling_of_the_process_as_it_was(
    encoder: str, tmp_path: Path
) -> None:
    before = os.sched_getscheduler(0)
    codecs.write(tmp_path / "a.mkv", "matroska", encoder, codecs.OPTIONS.get(encoder, [{}])[0])
    assert os.sched_getscheduler(0) == before
