"""Folders of frames: decoded as the videos that they were taken from, in the decoder's sandbox."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tests import videos
from workers.decoding import DecodedUnit, DecodeLimits, SandboxedDecoder, Unit
from workers.failures import ErrorType, UnitFailure
from workers.sampling import protocol

WHOLE = protocol("videomae-k400", size=56)
DENSE = protocol("videomae-k400", size=56, every_s=0.5)
FRAMES = 150


@pytest.fixture(scope="module")
def decoders() -> Iterator[dict[str, SandboxedDecoder]]:
    with SandboxedDecoder(WHOLE) as whole, SandboxedDecoder(DENSE) as dense:
        yield {"whole": whole, "dense": dense}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return videos.write_video(tmp_path_factory.mktemp("v") / "v.mp4", frames=FRAMES)


@pytest.fixture
def folder(tmp_path: Path, video: Path) -> Path:
    """Every frame of the video as a PNG picture, as mmaction2 numbers them."""
    folder = tmp_path / "v"
    folder.mkdir()
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0), start=1):
            rgb = frame.to_ndarray(format="rgb24")
            cv2.imwrite(str(folder / f"img_{number:05d}.png"), rgb[:, :, ::-1])
    return folder


def fps_of(video: Path) -> str:
    with av.open(str(video)) as container:
        return repr(float(container.streams.video[0].average_rate))


def unit(
    path: object, part: str | None = None, start: float | None = None, end: float | None = None
) -> Unit:
    return Unit("u", "v", str(path), start, end, part=part)


def decoded(decoder: SandboxedDecoder, unit: Unit) -> DecodedUnit:
    found = decoder.decode(unit)
    assert isinstance(found, DecodedUnit), found
    found.frames = found.frames.copy()
    return found


@pytest.mark.parametrize(
    ("kind", "start", "end"),
    [("whole", None, None), ("dense", None, None), ("dense", 0.0, 2.0), ("dense", 2.0, None)],
)
def test_frames_without_loss_are_decoded_as_their_video(
    decoders: dict[str, SandboxedDecoder], video: Path, folder: Path,
    kind: str, start: float | None, end: float | None,
) -> None:  # fmt: skip
    part = f"frames:{fps_of(video)}"
    one = decoded(decoders[kind], unit(video, start=start, end=end))
    other = decoded(decoders[kind], unit(folder, part, start, end))
    assert (one.frames == other.frames).all()
    assert (one.clip_frames == other.clip_frames).all()
    assert np.allclose(one.clip_times, other.clip_times)
    assert (one.frame_count, one.first_clip, one.lost_frames) == (
        (other.frame_count, other.first_clip, other.lost_frames)
    )
    assert other.duration_s == pytest.approx(one.duration_s)


def test_the_duration_is_that_of_the_video(
    decoders: dict[str, SandboxedDecoder], video: Path, folder: Path
) -> None:
    one = decoders["dense"].measure(unit(video))
    other = decoders["dense"].measure(unit(folder, f"frames:{fps_of(video)}"))
    assert not isinstance(one, UnitFailure)
    assert not isinstance(other, UnitFailure)
    assert other.duration_s == pytest.approx(one.duration_s)


def test_only_the_wanted_frames_are_read(
    decoders: dict[str, SandboxedDecoder], folder: Path
) -> None:
    found = decoded(decoders["whole"], unit(folder, "frames:25"))
    sizes = [path.stat().st_size for path in sorted(folder.iterdir())]
    assert found.bytes_read == sum(sizes[::4])
    (folder / "img_00002.png").write_bytes(b"never read")
    assert decoded(decoders["whole"], unit(folder, "frames:25")).lost_frames == 0


@pytest.mark.parametrize("name", ["img_{:05}.png", "{}.PNG", "frame{:04}.png", "a 1_{:03}.png"])
def test_frames_are_in_the_order_of_their_numbers(
    decoders: dict[str, SandboxedDecoder], folder: Path, tmp_path: Path, name: str
) -> None:
    reference = decoded(decoders["whole"], unit(folder, "frames:25"))
    other = tmp_path / "other"
    other.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        shutil.copy(path, other / name.format(number * 10))
    (other / "flow_x_00001.png").write_bytes(b"no frame")
    (other / "notes.txt").write_bytes(b"no frame")
    found = decoded(decoders["whole"], unit(other, "frames:25"))
    assert (found.frames == reference.frames).all()
    assert found.lost_frames == 0


def test_missing_and_damaged_frames_are_lost_and_the_one_before_stands_for_them(
    decoders: dict[str, SandboxedDecoder], folder: Path
) -> None:
    names = sorted(folder.iterdir())
    names[0].write_bytes(b"")
    names[1].unlink()
    names[4].write_bytes(names[4].read_bytes()[:-200])
    names[8].unlink()
    names[12].write_bytes(b"no picture")
    found = decoded(decoders["whole"], unit(folder, "frames:25"))
    assert found.lost_frames == 5
    assert found.frame_count == FRAMES
    first = found.frames[4]
    assert all((found.frames[row] == first).all() for row in range(4))


def test_a_folder_that_is_no_video_has_a_reason(
    decoders: dict[str, SandboxedDecoder], folder: Path, tmp_path: Path, video: Path
) -> None:
    few, two, none = (tmp_path / name for name in ("few", "two", "none"))
    for path in (few, two, none):
        path.mkdir()
    for number in range(0, 60, 7):
        (few / f"{number + number % 2}.png").write_bytes(b"x")
    for number in range(4):
        (two / f"a{number}.jpg").write_bytes(b"x")
        (two / f"b{number}.jpg").write_bytes(b"x")
    for path in sorted(folder.iterdir()):
        path.write_bytes(path.read_bytes()[:60])
    for path, reason, words in (
        (few, ErrorType.corrupt, "9 of 29 frames"),
        (two, ErrorType.not_video, "2 series"),
        (none, ErrorType.not_video, "no numbered pictures"),
        (tmp_path / "nowhere", ErrorType.not_found, "no such folder"),
        (video, ErrorType.not_video, "not a folder"),
        (folder, ErrorType.corrupt, "none of the 38 frames"),
    ):
        found = decoders["whole"].decode(unit(path, "frames:25"))
        assert isinstance(found, UnitFailure), found
        assert found.error_type is reason
        assert words in found.message


def test_frames_of_other_sizes_are_resized_as_in_videos(
    decoders: dict[str, SandboxedDecoder], folder: Path
) -> None:
    cv2.imwrite(str(folder / "img_00005.png"), np.zeros((400, 90, 3), dtype=np.uint8))
    found = decoded(decoders["whole"], unit(folder, "frames:25"))
    assert found.frames.shape[1:] == decoded_shape(folder)
    assert not found.frames[1].any()


def decoded_shape(folder: Path) -> tuple[int, int, int]:
    height, width = cv2.imread(str(folder / "img_00001.png")).shape[:2]
    return *WHOLE.resized(height, width), 3


@pytest.mark.parametrize("extension", [".jpg", ".webp", ".bmp", ".png"])
def test_every_kind_of_picture_is_decoded_and_one_with_too_many_pixels_refused(
    tmp_path: Path, extension: str
) -> None:
    for number in range(20):
        picture = np.full((60, 80, 3), (10 * number, 0, 200), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}{extension}"), picture)
    with SandboxedDecoder(WHOLE, limits=DecodeLimits(max_pixels=4800)) as decoder:
        found = decoded(decoder, unit(tmp_path, "frames:10"))
    assert abs(int(found.frames[0, 0, 0, 0]) - 200) < 5  # red first
    with SandboxedDecoder(WHOLE, limits=DecodeLimits(max_pixels=4799)) as decoder:
        failure = decoder.decode(unit(tmp_path, "frames:10"))
    assert isinstance(failure, UnitFailure)
    assert failure.error_type is ErrorType.too_large


def test_a_list_may_say_how_many_frames_there_are(
    decoders: dict[str, SandboxedDecoder], folder: Path
) -> None:
    assert decoded(decoders["whole"], unit(folder, "frames:25/100")).frame_count == 100
    longer = decoded(decoders["whole"], unit(folder, "frames:25/200"))
    assert (longer.frame_count, longer.lost_frames) == (200, 50)


def test_frames_of_object_storage_are_those_of_files(
    decoders: dict[str, SandboxedDecoder], folder: Path, s3: Any
) -> None:
    s3.create_bucket(Bucket="pictures")
    for path in folder.iterdir():
        s3.upload_file(str(path), "pictures", f"some/v 1/{path.name}")
    reference = decoded(decoders["whole"], unit(folder, "frames:25"))
    found = decoded(decoders["whole"], unit("s3://pictures/some/v 1", "frames:25"))
    assert (found.frames == reference.frames).all()
    assert found.bytes_read == reference.bytes_read
    s3.delete_object(Bucket="pictures", Key="some/v 1/img_00005.png")
    found = decoded(decoders["whole"], unit("s3://pictures/some/v 1", "frames:25"))
    assert found.lost_frames == 1
    missing = decoders["whole"].decode(unit("s3://pictures/none", "frames:25"))
    assert isinstance(missing, UnitFailure)
    assert missing.error_type is ErrorType.not_video
