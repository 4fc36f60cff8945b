"""A file that is no video, or a damaged one, is a row with a reason; what is lost is counted."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import videos
from workers.decoding import DecodedUnit, DecodeLimits, SandboxedDecoder, Unit
from workers.decoding.damage import Damage
from workers.decoding.endings import Ending
from workers.decoding.sniffing import other_format
from workers.failures import ErrorType, UnitFailure
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56)


@pytest.fixture(scope="module")
def decoder() -> Iterator[SandboxedDecoder]:
    with SandboxedDecoder(PROTOCOL) as sandbox:
        yield sandbox


def failure(decoder: SandboxedDecoder, path: Path) -> UnitFailure:
    result = decoder.decode(Unit("unit", "video", str(path)))
    assert isinstance(result, UnitFailure), "this file should not decode"
    assert "\n" not in result.message
    assert str(path.parent) not in result.message
    return result


def success(decoder: SandboxedDecoder, path: Path) -> DecodedUnit:
    result = decoder.decode(Unit("unit", "video", str(path)))
    assert isinstance(result, DecodedUnit), result
    return result


@pytest.mark.parametrize(
    ("content", "error_type", "words"),
    [
        (b"", ErrorType.empty, "no bytes"),
        (b"just some words\n" * 40, ErrorType.not_video, "text"),
        (b"#EXTM3U\n#EXTINF:10,\nother.mp4\n", ErrorType.not_video, "HLS playlist"),
        (b"ffconcat version 1.0\nfile other.mp4\n", ErrorType.not_video, "ffconcat script"),
        (b"version https://git-lfs.github.com/spec/v1\n", ErrorType.not_video, "Git LFS"),
        (b"<!DOCTYPE html><html></html>", ErrorType.not_video, "web page"),
        (b"GIF89a" + bytes(range(200)), ErrorType.not_video, "GIF"),
        (b"\xff\xd8\xff\xe0" + bytes(range(200)), ErrorType.not_video, "JPEG"),
        (b"PK\x03\x04" + bytes(range(200)), ErrorType.not_video, "ZIP"),
        (bytes(5000), ErrorType.not_video, "zero bytes"),
        (bytes(range(256)) * 20, ErrorType.not_video, "no known video format"),
    ],
)
def test_what_is_no_video_is_named(
    content: bytes, error_type: ErrorType, words: str, tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    result = failure(decoder, path)
    assert result.error_type is error_type
    assert words in result.message


def test_a_missing_file_is_a_row_with_a_reason(tmp_path: Path, decoder: SandboxedDecoder) -> None:
    assert failure(decoder, tmp_path / "missing.mp4").error_type is ErrorType.not_found


def test_a_directory_is_a_row_with_a_reason(tmp_path: Path, decoder: SandboxedDecoder) -> None:
    (tmp_path / "folder.mp4").mkdir()
    assert failure(decoder, tmp_path / "folder.mp4").error_type is ErrorType.not_video


def test_sound_alone_is_a_row_with_a_reason(tmp_path: Path, decoder: SandboxedDecoder) -> None:
    result = failure(decoder, videos.write_sound(tmp_path / "sound.mp4"))
    assert result.error_type is ErrorType.no_video_stream
    assert "audio" in result.message


def test_a_cut_mp4_is_told_from_something_that_is_no_video(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    whole = videos.write_video(tmp_path / "whole.mp4")
    result = failure(decoder, videos.cut_off(whole, tmp_path / "cut.mp4", share=0.5))
    assert result.error_type is ErrorType.corrupt
    assert "moov" in result.message


@pytest.mark.parametrize("options", [{"movflags": "faststart"}])
def test_an_mp4_that_ends_too_early_is_degraded_or_corrupt_by_what_is_left(
    options: dict[str, str], tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    whole = videos.write_video(tmp_path / "whole.mp4", frames=120, container_options=options)
    most = success(decoder, videos.cut_off(whole, tmp_path / "most.mp4", share=0.9))
    assert 0 < most.lost_frames < 60
    assert most.frame_count + most.lost_frames >= 120
    little = failure(decoder, videos.cut_off(whole, tmp_path / "little.mp4", share=0.4))
    assert little.error_type is ErrorType.corrupt


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.avi", "mpeg4")])
def test_a_cut_file_without_an_index_is_never_silently_short(
    name: str, codec: str, tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    whole = videos.write_video(tmp_path / name, frames=120, codec=codec)
    assert success(decoder, whole).lost_frames == 0
    result = success(decoder, videos.cut_off(whole, tmp_path / f"cut_{name}", share=0.7))
    assert result.lost_frames > 0
    assert result.frame_count < 120


def test_damage_in_the_middle_is_counted_and_the_rest_is_what_it_was(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    whole = videos.write_video(tmp_path / "whole.mp4", frames=200, options={"g": "20"})
    path = videos.damaged(whole, tmp_path / "damaged.mp4", start=0.5, stop=0.55)
    result = success(decoder, path)
    assert 0 < result.lost_frames < 60
    reference = videos.sequential_frames(path)
    assert result.frame_count == len(reference)
    clips = PROTOCOL.clip_indices(len(reference))
    height, width = result.frames.shape[1:3]
    for index, row in zip(clips.ravel(), result.clip_frames.ravel(), strict=True):
        assert np.array_equal(result.frames[row], videos.resize(reference[index], height, width))


def test_a_video_that_is_mostly_damage_is_a_row_with_a_reason(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    whole = videos.write_video(tmp_path / "whole.mp4", frames=200)
    result = failure(decoder, videos.damaged(whole, tmp_path / "bad.mp4", start=0.1, stop=0.8))
    assert result.error_type is ErrorType.corrupt
    assert "frames could be decoded" in result.message


def test_a_size_that_changes_in_mid_stream_keeps_the_first_target(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    one = videos.write_video(tmp_path / "one.ts", frames=30)
    two = videos.write_video(tmp_path / "two.ts", frames=30, height=128, width=144)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    result = success(decoder, both)
    assert result.frames.shape[1:3] == PROTOCOL.resized(96, 128)
    reference = videos.sequential_frames(both)
    assert {frame.shape for frame in reference} == {(96, 128, 3), (128, 144, 3)}
    last = PROTOCOL.clip_indices(len(reference)).max()
    expected = videos.resize(reference[last], *result.frames.shape[1:3])
    assert np.array_equal(result.frames[-1], expected)


@pytest.mark.parametrize("name", ["-dash.mp4", "per%03dcent.mp4", "co:lon.mp4", "ü ñ.mp4", "noext"])
def test_strange_names_are_names(name: str, tmp_path: Path, decoder: SandboxedDecoder) -> None:
    shutil.copy(videos.write_video(tmp_path / "plain.mp4", frames=20), tmp_path / name)
    assert success(decoder, tmp_path / name).frame_count == 20


def test_a_frame_larger_than_the_limit_is_a_row_with_a_reason(tmp_path: Path) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=3, height=96, width=128)
    with SandboxedDecoder(PROTOCOL, limits=DecodeLimits(max_pixels=96 * 128 - 1)) as sandbox:
        result = failure(sandbox, path)
    assert result.error_type is ErrorType.too_large
    assert "128 x 96" in result.message


def test_frames_of_an_extreme_shape_are_limited_too(tmp_path: Path) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=80, height=1280, width=16)
    with SandboxedDecoder(PROTOCOL, limits=DecodeLimits(output_bytes=1 << 20)) as sandbox:
        assert failure(sandbox, path).error_type is ErrorType.too_large


def test_a_video_is_not_taken_for_another_format(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "a.ts", "a.avi"):
        head = videos.write_video(tmp_path / name, frames=5).read_bytes()[:4096]
        assert other_format(head) is None


def test_half_a_video_is_too_little_and_more_than_half_is_enough() -> None:
    assert Damage(cut=149).lost(151) == 149
    assert Damage(patched=74).lost(150) == 74
    for half in (Damage(cut=150), Damage(ending=Ending(0.5)), Damage(patched=75)):
        with pytest.raises(UnitFailure, match="of about [13][05]0 frames could be decoded; more"):
            half.lost(150)


def test_a_video_without_one_usable_frame_says_none() -> None:
    with pytest.raises(UnitFailure, match="none of about 300 frames could be decoded"):
        Damage(refused=299, patched=1).lost(1)
