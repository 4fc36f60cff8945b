"""A segment has the frames of a decode from start to end, however the file is cut."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.inputs.manifest import unit_spans
from tests import recordings, videos
from tests.corpus import CORPUS, needs_corpus
from workers.decoding import DecodedUnit, SandboxedDecoder, Unit, planned, segments
from workers.decoding.segments import SegmentDecoder
from workers.decoding.types import DecodeLimits
from workers.failures import ErrorType, UnitFailure
from workers.io.fetching import open_source
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56, every_s=0.7, views=(4, 1))
X264 = "x264-params"
CASES: dict[str, dict[str, Any]] = {
    "b_frames.mp4": {"options": {"bf": "3", "g": "40"}},
    "pyramid.mkv": {"options": {X264: "bframes=5:b-pyramid=normal:keyint=50:ref=4"}},
    "open_groups.mp4": {"options": {X264: "open-gop=1:keyint=40:bframes=3:weightp=2"}},
    "open_groups.ts": {"options": {X264: "open-gop=1:keyint=40:bframes=3:b-pyramid=normal"}},
    "intra_refresh.mp4": {"options": {X264: "intra-refresh=1:keyint=40"}},
    "intra_refresh.ts": {"options": {X264: "intra-refresh=1:keyint=40"}},
    "interlaced.ts": {"options": {X264: "interlaced=1:open-gop=1:keyint=40:bframes=2"}},
    "fragmented.mp4": {
        "options": {"bf": "2", "g": "40"},
        "container_options": {"movflags": "frag_keyframe+empty_moov"},
    },
    "fragments_without_index.mp4": {
        "options": {"bf": "2", "g": "40"},
        "container_options": {"movflags": "frag_keyframe+empty_moov+skip_trailer"},
    },
    "live.mkv": {"options": {"bf": "2", "g": "40"}, "container_options": {"live": "1"}},
    "broadcast.ts": {"options": {"bf": "2", "g": "40"}},
    "stream.flv": {"options": {"bf": "2", "g": "40"}},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"bf": "2", "g": "15"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2", "g": "15"}},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"bf": "2", "g": "24"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2", "g": "24"}},
    "intra.dv": {"codec": "dvvideo", "height": 576, "width": 720, "rate": 25, "frames": 60},
    "msmpeg4.avi": {"codec": "msmpeg4", "options": {"g": "24"}},
    "vp8.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "10"}},
    "vp9.webm": {
        "codec": "libvpx-vp9",
        "options": {"lag-in-frames": "10", "cpu-used": "8", "g": "60"},
    },
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=30"}},
    "hevc.ts": {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=30"}},
    "turned.mp4": {"rotation": 90, "options": {"g": "30"}},
    "one_frame.mp4": {"frames": 1},
    "short.mkv": {"frames": 20},
}
SEQUENTIAL = {"msmpeg4.avi"}


@pytest.fixture(scope="module")
def decoder() -> Iterator[SandboxedDecoder]:
    with SandboxedDecoder(PROTOCOL) as sandbox:
        yield sandbox


def times_and_length(path: Path) -> tuple[np.ndarray, float]:
    """Seconds of every frame that a decode from start to end gives, and of the whole."""
    ticks, last = [], 0
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        assert isinstance(stream, av.VideoStream)
        assert stream.time_base is not None
        tick_s = float(stream.time_base)
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue
            for frame in frames:
                ticks.append(frame.pts)
                last = frame.duration
    times = (np.maximum.accumulate(np.array(ticks, dtype=np.int64)) - ticks[0]) * tick_s
    shown = last * tick_s or (times[-1] - times[-2])  # a file may not say how long the last one is
    return times, times[-1] + shown


def units(path: Path, edges: list[float]) -> list[Unit]:
    ends: list[float | None] = [*edges[1:], None]
    return [Unit(f"{a}", "v", str(path), a, b) for a, b in zip(edges, ends, strict=True)]


def assert_equal_to_sequential(
    decoder: SandboxedDecoder, path: Path, edges: list[float] | None = None
) -> list[DecodedUnit]:
    """All units together have every clip once, with the frames and times of a plain decode."""
    reference = videos.sequential_frames(path)
    times, length_s = times_and_length(path)
    if edges is None:
        edges = [start or 0.0 for start, _ in unit_spans(length_s, PROTOCOL.unit_s)]
    expected = PROTOCOL.dense_indices(times, PROTOCOL.clip_numbers(0.0, length_s))
    results, clip = [], 0
    for unit in units(path, edges):
        result = decoder.decode(unit)
        assert isinstance(result, DecodedUnit), (unit, result)
        assert result.first_clip == clip
        height, width = result.frames.shape[1:3]
        for rows, (first_s, last_s) in zip(result.clip_frames, result.clip_times, strict=True):
            wanted = expected[clip]
            for row, index in zip(rows, wanted, strict=True):
                frame = videos.resize(reference[index], height, width)
                assert np.array_equal(result.frames[row], frame), f"clip {clip}, frame {index}"
            assert (first_s, last_s) == pytest.approx((times[wanted[0]], times[wanted[-1]]))
            clip += 1
        assert result.clip_frames.max() == len(result.frames) - 1
        results.append(result)
    assert clip == len(expected)
    assert sum(result.frame_count for result in results) == len(reference)
    assert sum(result.duration_s for result in results) == pytest.approx(length_s)
    return results


@pytest.mark.parametrize("name", CASES)
def test_frames_equal_a_sequential_decode_bit_for_bit(
    name: str, tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    path = videos.write_video(tmp_path / name, **{"frames": 300, **CASES[name]})
    results = assert_equal_to_sequential(decoder, path)
    assert all(result.lost_frames == 0 for result in results)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.flv"])
def test_irregular_frames_with_sound_between_them(
    name: str, tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    assert_equal_to_sequential(decoder, recordings.write_irregular(tmp_path / name))


def test_the_start_that_an_edit_list_cuts_away_is_not_in_the_video(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    whole = videos.write_video(tmp_path / "a.mp4", frames=300, options={"bf": "2", "g": "60"})
    path = videos.cut_copy(whole, tmp_path / "cut.mp4", skip=77)
    results = assert_equal_to_sequential(decoder, path)
    assert sum(result.frame_count for result in results) < 250


@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.mkv"])
def test_it_does_not_matter_where_a_file_is_cut(
    name: str, tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    path = videos.write_video(tmp_path / name, frames=300, options={"g": "30", "bf": "2"})
    assert_equal_to_sequential(decoder, path, [0.0])
    assert_equal_to_sequential(decoder, path, [0.0, 0.7, 1.4, 4.9, 5.6])
    assert_equal_to_sequential(decoder, path, [0.0, 1.0, 3.333, 8.0, 9.3])


def test_units_may_come_in_any_order(tmp_path: Path, decoder: SandboxedDecoder) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=300, options={"g": "30", "bf": "2"})
    work = units(path, [0.0, 2.8, 5.6, 8.4])
    forwards = [decoder.decode(unit) for unit in work]
    backwards = [decoder.decode(unit) for unit in reversed(work)][::-1]
    for one, two in zip(forwards, backwards, strict=True):
        assert isinstance(one, DecodedUnit)
        assert isinstance(two, DecodedUnit)
        assert np.array_equal(one.frames, two.frames)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ways that units were decoded by: "plan", "window" or "start"."""
    taken: list[str] = []
    for name in ("plan", "window", "from_start"):
        method = f"_{name}" if name == "from_start" else f"_by_{name}"
        plain = getattr(segments._SegmentDecode, method)

        def noting(job: Any, *args: Any, name: str = name, plain: Any = plain) -> Any:
            result = plain(job, *args)
            if result is not None:
                taken.append(name)
            return result

        monkeypatch.setattr(segments._SegmentDecode, method, noting)
    return taken


def decode_here(path: Path, edges: list[float]) -> None:
    decoder = SegmentDecoder(PROTOCOL, DecodeLimits())
    with open_source(str(path)) as source:
        for unit in units(path, edges):
            decoder.decode(source, unit, lambda shape: np.zeros(shape, dtype=np.uint8))
    decoder.close()


@pytest.mark.parametrize("name", CASES)
def test_sound_files_are_decoded_by_windows_where_their_container_allows(
    name: str, tmp_path: Path, ways: list[str]
) -> None:
    path = videos.write_video(tmp_path / name, **{"frames": 300, **CASES[name]})
    edges = [0.0] if name in ("one_frame.mp4", "short.mkv", "intra.dv") else [0.0, 2.8, 5.6, 8.4]
    decode_here(path, edges)
    assert set(ways) == ({"from_start"} if name in SEQUENTIAL else {"plan"})


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mpeg4"), ("a.mxf", "mpeg2video")])
def test_a_file_that_cannot_be_searched_by_time_is_read_once_for_all_segments(
    name: str, codec: str, tmp_path: Path, ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = videos.write_video(
        tmp_path / name, frames=600, codec=codec, options={"g": "15", "bf": "2"}
    )
    read, decoded = [], 0
    whole, some = segments.read_table, planned._run_frames

    def demuxer(*args: Any, **options: Any) -> Any:
        read.append(args)
        return whole(*args, **options)

    def counting(*args: Any) -> Iterator[Any]:
        nonlocal decoded
        for frame in some(*args):
            decoded += 1
            yield frame

    monkeypatch.setattr(segments, "read_table", demuxer)
    monkeypatch.setattr(planned, "_run_frames", counting)
    decode_here(path, [0.0, 2.8, 5.6, 8.4, 11.2, 14.0, 16.8])
    assert len(read) == 1
    assert set(ways) == {"plan"}
    assert decoded < 2 * 600


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_damage_costs_the_units_that_it_lies_in_and_changes_no_other(
    name: str, tmp_path: Path, decoder: SandboxedDecoder, ways: list[str]
) -> None:
    whole = videos.write_video(tmp_path / name, frames=600, options={"g": "40", "bf": "2"})
    path = videos.damaged(whole, tmp_path / f"damaged_{name}", start=0.5, stop=0.52)
    results = assert_equal_to_sequential(decoder, path)
    decode_here(path, [0.0, 2.8, 5.6, 8.4, 11.2, 14.0, 16.8])
    assert ways.count("plan") >= 4
    assert "window" in ways
    assert "from_start" not in ways
    if name == "a.mp4":
        lost = [result.lost_frames for result in results]
        assert sum(lost) > 0
        assert sum(count > 0 for count in lost) <= 2


def test_a_unit_that_is_mostly_damage_is_a_row_with_a_reason_and_its_neighbors_are_not(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    whole = videos.write_video(tmp_path / "a.mp4", frames=600, options={"g": "300"})
    path = videos.damaged(whole, tmp_path / "b.mp4", start=0.45, stop=0.65)
    results = [decoder.decode(unit) for unit in units(path, [0.0, 2.8, 5.6, 8.4, 11.2, 14.0, 16.8])]
    kinds = {result.error_type for result in results if isinstance(result, UnitFailure)}
    assert kinds == {ErrorType.corrupt}
    assert isinstance(results[0], DecodedUnit)
    assert results[0].lost_frames == 0
    assert isinstance(results[-1], DecodedUnit)


def test_joined_recordings_whose_timestamps_restart_are_decoded_from_the_start(
    tmp_path: Path, decoder: SandboxedDecoder, ways: list[str]
) -> None:
    one = videos.write_video(tmp_path / "one.ts", frames=300, options={"g": "30", "bf": "2"})
    two = videos.write_video(tmp_path / "two.ts", frames=240, options={"g": "30", "bf": "2"})
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    decode_here(both, [0.0, 14.0])
    assert set(ways) == {"from_start"}
    last = decoder.decode(Unit("u", "v", str(both), 14.0, None))
    assert isinstance(last, DecodedUnit)
    reference = videos.sequential_frames(both)
    assert len(reference) == 540
    height, width = last.frames.shape[1:3]
    frame = videos.resize(reference[420], height, width)
    assert np.array_equal(last.frames[last.clip_frames[0, 0]], frame)


def test_the_end_that_is_missing_is_counted_once(tmp_path: Path, decoder: SandboxedDecoder) -> None:
    whole = videos.write_video(
        tmp_path / "a.mp4", frames=300, container_options={"movflags": "faststart"}
    )
    path = videos.cut_off(whole, tmp_path / "cut.mp4", share=0.6)
    results = [decoder.decode(unit) for unit in units(path, [0.0, 2.8])]
    assert [isinstance(result, DecodedUnit) for result in results] == [True, True]
    lost = [result.lost_frames for result in results]
    assert lost[0] == 0
    assert sum(result.frame_count for result in results) + lost[1] == pytest.approx(300, abs=2)


def test_frames_before_the_first_keyframe_are_lost_to_the_first_unit_alone(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    whole = videos.write_video(tmp_path / "a.ts", frames=300, options={"g": "30", "bf": "0"})
    path = tmp_path / "headless.ts"
    path.write_bytes(whole.read_bytes()[188 * 40 :])
    results = assert_equal_to_sequential(decoder, path)
    assert 0 < results[0].lost_frames < 30
    assert [result.lost_frames for result in results[1:]] == [0] * (len(results) - 1)


def test_a_segment_beyond_the_end_is_a_row_with_a_reason(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=60)
    result = decoder.decode(Unit("u", "v", str(path), 28.0, None))
    assert isinstance(result, UnitFailure)
    assert result.error_type is ErrorType.too_short
    assert "2.00 s long" in result.message


def test_more_clips_than_a_unit_can_hold_are_a_row_with_a_reason(tmp_path: Path) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=60)
    dense = protocol("videomae-k400", size=56, every_s=0.00005)
    with SandboxedDecoder(dense) as sandbox:
        result = sandbox.decode(Unit("u", "v", str(path)))
    assert isinstance(result, UnitFailure)
    assert result.error_type is ErrorType.too_large


def test_decord_refuses_dense_labeling() -> None:
    with pytest.raises(ValueError, match="use 'pyav'"):
        SandboxedDecoder(PROTOCOL, decoder="decord")


def test_a_file_that_is_replaced_between_units_is_opened_anew(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=60, options={"g": "10"})
    first = decoder.decode(Unit("u", "v", str(path), 0.0, 2.8))
    videos.write_video(tmp_path / "b.mp4", frames=90, height=128, options={"g": "10"}).replace(path)
    second = decoder.decode(Unit("u", "v", str(path), 0.0, 2.8))
    assert isinstance(first, DecodedUnit)
    assert isinstance(second, DecodedUnit)
    assert (first.frame_count, second.frame_count) == (60, 84)


@pytest.mark.slow
@needs_corpus
@pytest.mark.parametrize(
    "name",
    [
        "hostile/open_gop.mp4",
        "hostile/intra_refresh.mp4",
        "hostile/corrupt_mid_4k.mp4",
        "hostile/vfr_select.mp4",
        "hostile/rot270.mp4",
        "hostile/ts_headless.ts",
        "hostile/hevc.mp4",
        "hostile/av1.mp4",
        "hostile/audio_longer.mp4",
        "hostile/cover_art_first.mp4",
        "hostile/start_offset_10s.mkv",
        "hostile/vp8_noduration.webm",
        "real/torchcodec/nasa_13013.mp4",
        "real/sample-videos/bottle-detection.mp4",
        "real/decord/corrupted.mp4",
    ],
)
def test_real_recordings_equal_a_sequential_decode(name: str, decoder: SandboxedDecoder) -> None:
    assert_equal_to_sequential(decoder, CORPUS / name)
