"""Folders of frames as videos: found with --fps alone, in folders, prefixes and lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UsageError
from pipeline.inputs.input_check import checked_input
from pipeline.inputs.list_options import ListOptions, fps_of
from pipeline.inputs.listing import Listing


def listing(source: object, fps: float | None = 25.0, **more: Any) -> Listing:
    return Listing(str(source), lists=ListOptions(fps=fps), **more)


def write(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"abc")


FRAMES = [f"img_{number:05d}.jpg" for number in range(1, 6)]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write(tmp_path / "archive" / "jump" / "v1", [*FRAMES, "flow_x_00001.jpg", "notes.txt"])
    write(tmp_path / "archive" / "jump" / "v2", FRAMES[:2])
    write(tmp_path / "archive" / "run", ["0001.png", "cover.jpg", "v3.mp4"])
    write(tmp_path / "archive" / ".cache" / "v4", FRAMES)
    return tmp_path / "archive"


@pytest.mark.parametrize("all_files", [False, True])
def test_each_folder_with_frames_is_a_video(archive: Path, all_files: bool) -> None:
    found = listing(archive, all_files=all_files)
    videos = {video.video_id: video for video in found.videos()}
    assert {name: (v.uri, v.part, v.size_bytes) for name, v in videos.items() if v.part} == {
        "jump/v1": (f"{archive}/jump/v1", "frames:25.0", 15),
        "jump/v2": (f"{archive}/jump/v2", "frames:25.0", 6),
        "run": (f"{archive}/run", "frames:25.0", 3),
    }
    assert "run/v3.mp4" in videos


def test_a_folder_of_frames_may_be_named_itself(archive: Path) -> None:
    (video,) = listing(archive / "jump" / "v1").videos()
    assert (video.video_id, video.uri) == ("v1", f"{archive}/jump/v1")


def test_pictures_are_no_videos_without_the_flag(archive: Path) -> None:
    assert [video.video_id for video in listing(archive, None).videos()] == ["run/v3.mp4"]
    with pytest.raises(UsageError, match="--fps N labels folders of numbered pictures"):
        checked_input(listing(archive / "jump", None), ["a"])


def test_folders_of_a_prefix_are_videos_also_where_keys_of_others_lie_between(s3: Any) -> None:
    s3.create_bucket(Bucket="frames")
    for key in ("a/img_1.jpg", "a/m/img_1.jpg", "a/m/img_2.jpg", "a/z_1.jpg", "b/1.png", "v.mp4"):
        s3.put_object(Bucket="frames", Key=f"top/{key}", Body=b"abc")
    videos = {video.video_id: video for video in listing("s3://frames/top").videos()}
    assert sorted(videos) == ["a", "a/m", "b", "v.mp4"]
    assert videos["a/m"].uri == "s3://frames/top/a/m"
    assert videos["a/m"].size_bytes == 6


def test_a_list_of_folders_gives_their_labels_and_numbers_of_frames(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("jump/v1 5 3\njump/v2 240 0\n")
    videos = list(listing(tmp_path / "val.txt", 29.97).videos())
    assert [(video.uri, video.part, video.ground_truth) for video in videos] == [
        (f"{tmp_path}/jump/v1", "frames:29.97/5", "3"),
        (f"{tmp_path}/jump/v2", "frames:29.97/240", "0"),
    ]
    with pytest.raises(UsageError, match="--fps N says how many frames a second"):
        list(listing(tmp_path / "val.txt", None).videos())
    (tmp_path / "val.txt").write_text("jump/v1 5 3\njump/v2 0 0\n")
    with pytest.raises(UsageError, match="line 2: the folder has 0 frames"):
        list(listing(tmp_path / "val.txt").videos())


@pytest.mark.parametrize("text", ["0", "-25", "nan", "inf", "1e-300", "1e300", "25fps", ""])
def test_frames_a_second_are_a_number_above_0(text: str) -> None:
    with pytest.raises(ValueError, match="must be a number from 0.001 to 1,000,000"):
        fps_of(text)
    assert fps_of("29.97") == 29.97
