"""Every frame that comes out is the one that a plain decode from start to end has at that place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import videos
from workers.decoding import DecodedUnit, SandboxedDecoder, Unit
from workers.failures import ErrorType, UnitFailure
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56)

CASES: dict[str, dict[str, Any]] = {
    "b_frames.mp4": {"options": {"bf": "3", "g": "30"}},
    "pyramid.mp4": {"options": {"x264-params": "bframes=5:b-pyramid=normal:keyint=50"}},
    "open_groups.mp4": {"options": {"x264-params": "open-gop=1:keyint=20:bframes=3"}},
    "intra_refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=20"}},
    "intra_refresh.mkv": {"options": {"x264-params": "intra-refresh=1:keyint=20"}},
    "many_keyframes.mp4": {"frames": 900, "options": {"g": "30", "bf": "2"}},
    "many_keyframes.mkv": {"frames": 900, "options": {"g": "30", "bf": "2"}},
    "interlaced.mp4": {"options": {"flags": "+ildct+ilme", "bf": "2"}},
    "fragmented.mp4": {
        "options": {"bf": "2", "g": "20"},
        "container_options": {"movflags": "frag_keyframe+empty_moov"},
    },
    "plain.mkv": {"options": {"bf": "2"}},
    "mpeg4_b_frames.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "broadcast.ts": {"options": {"bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "vp8.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "10"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"lag-in-frames": "10", "cpu-used": "8"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=20"}},
    "upright.mp4": {"height": 128, "width": 96},
    "odd.mp4": {"height": 97, "width": 131, "pixel_format": "yuv444p"},
    "one_frame.mp4": {"frames": 1},
    "turned.mp4": {"rotation": 90},
}


@pytest.fixture(scope="module")
def decoder() -> Any:
    with SandboxedDecoder(PROTOCOL) as sandbox:
        yield sandbox


def unit(path: Path, **segment: float) -> Unit:
    return Unit("unit", "video", str(path), **segment)


def decoded(result: DecodedUnit | UnitFailure) -> DecodedUnit:
    assert isinstance(result, DecodedUnit), result
    return result


def assert_equal_to_sequential(result: DecodedUnit, path: Path) -> None:
    reference = videos.sequential_frames(path)
    clips = PROTOCOL.clip_indices(len(reference))
    height, width = PROTOCOL.resized(*reference[0].shape[:2])
    assert result.frame_count == len(reference)
    assert result.frames.shape == (len(np.unique(clips)), height, width, 3)
    for clip, row in zip(clips.ravel(), result.clip_frames.ravel(), strict=True):
        expected = videos.resize(reference[clip], height, width)
        assert np.array_equal(result.frames[row], expected), f"frame {clip}"


@pytest.mark.parametrize("name", CASES)
def test_frames_equal_a_sequential_decode_bit_for_bit(
    name: str, tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    path = videos.write_video(tmp_path / name, **CASES[name])
    result = decoded(decoder.decode(unit(path)))
    assert_equal_to_sequential(result, path)
    assert result.lost_frames == 0
    assert result.attempts == 1
    assert result.bytes_read == path.stat().st_size


def test_frames_cut_away_by_an_edit_list_do_not_count(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    whole = videos.write_video(tmp_path / "whole.mp4", options={"bf": "2"})
    path = videos.cut_copy(whole, tmp_path / "cut.mp4", skip=7)
    result = decoded(decoder.decode(unit(path)))
    assert result.frame_count < 60
    assert_equal_to_sequential(result, path)


def test_decord_agrees_to_the_bit_on_closed_groups(tmp_path: Path) -> None:
    pytest.importorskip("decord")
    path = videos.write_video(tmp_path / "a.mp4", options={"bf": "2", "flags": "+cgop"})
    with SandboxedDecoder(PROTOCOL, decoder="decord") as sandbox:
        result = decoded(sandbox.decode(unit(path)))
    assert_equal_to_sequential(result, path)
    assert result.duration_s == pytest.approx(2.0)


def test_every_distinct_frame_comes_once_and_in_order(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=90)
    result = decoded(decoder.decode(unit(path)))
    clips = PROTOCOL.clip_indices(90)
    assert result.clip_frames.shape == (5, 16)
    assert result.clip_frames.dtype == np.int32
    assert np.array_equal(np.unique(clips)[result.clip_frames], clips)


def test_times_and_duration_come_from_the_timestamps(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=120, rate=24)
    result = decoded(decoder.decode(unit(path)))
    clips = PROTOCOL.clip_indices(120)
    assert result.clip_times == pytest.approx(clips[:, [0, -1]] / 24)
    assert result.duration_s == pytest.approx(5.0)


def test_a_segment_is_sampled_like_a_whole_video(tmp_path: Path, decoder: SandboxedDecoder) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=600, options={"g": "30", "bf": "2"})
    result = decoded(decoder.decode(unit(path, start_s=10.0, end_s=15.0)))
    reference = videos.sequential_frames(path)
    clips = 300 + PROTOCOL.clip_indices(150)
    height, width = result.frames.shape[1:3]
    for index, row in zip(clips.ravel(), result.clip_frames.ravel(), strict=True):
        assert np.array_equal(result.frames[row], videos.resize(reference[index], height, width))
    assert result.frame_count == 600
    assert result.clip_times[0, 0] == pytest.approx(10.0)


def test_neighboring_segments_share_no_frame(tmp_path: Path, decoder: SandboxedDecoder) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=60)
    first = decoded(decoder.decode(unit(path, end_s=1.0)))
    second = decoded(decoder.decode(unit(path, start_s=1.0)))
    assert first.clip_times.max() < 1.0 <= second.clip_times.min()


def test_a_segment_beyond_the_end_is_a_row_with_a_reason(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=30)
    result = decoder.decode(unit(path, start_s=5.0, end_s=9.0))
    assert isinstance(result, UnitFailure)
    assert result.error_type is ErrorType.too_short


def test_frames_survive_the_next_unit(tmp_path: Path, decoder: SandboxedDecoder) -> None:
    one = videos.write_video(tmp_path / "one.mp4")
    two = videos.write_video(tmp_path / "two.mp4", height=128, width=96, frames=90)
    result = decoded(decoder.decode(unit(one)))
    before = result.frames.copy()
    decoded(decoder.decode(unit(two)))
    assert np.array_equal(result.frames, before)
