"""The demo archive is real video with a true manifest, and can be made in parts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from jobs import make_demo_archive
from pipeline.inputs.demo.archive import (
    LABEL_FILE,
    MANIFEST,
    ArchiveSettings,
    demo_archive,
    make_archive,
    read_archive,
    read_manifest,
    read_sampled,
)
from pipeline.inputs.demo.scenes import HEIGHT, LABELS, WIDTH, draw_scene, render


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "archive"
    make_archive(folder, ArchiveSettings(videos=3, seed=1))
    return folder


def test_every_file_decodes_to_the_length_and_size_of_its_scene(archive: Path) -> None:
    for index, entry in enumerate(read_manifest(archive)):
        scene = draw_scene(seed=1, split="test", index=index)
        with av.open(str(archive / entry.uri)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.average_rate == scene.fps
            sizes = [(frame.width, frame.height) for frame in container.decode(stream)]
        assert sizes == [(WIDTH, HEIGHT)] * scene.frames


def test_the_video_shows_its_scene(archive: Path) -> None:
    drawn = next(render(draw_scene(seed=1, split="test", index=0))).astype(int)
    with av.open(str(archive / "test-1-00000.mp4")) as container:
        decoded = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert np.abs(decoded - drawn).mean() < 6


def test_the_manifest_names_each_video_once_with_its_label(archive: Path) -> None:
    entries = read_manifest(archive)
    assert [entry.label for entry in entries] == list(LABELS[:3])
    assert len({entry.video_id for entry in entries}) == 3
    assert {entry.uri for entry in entries} == {path.name for path in archive.glob("*.mp4")}


def test_the_labels_stand_in_class_order(archive: Path) -> None:
    assert (archive / LABEL_FILE).read_text().splitlines() == list(LABELS)


def test_a_second_call_adds_what_is_missing_and_keeps_the_rest(tmp_path: Path) -> None:
    make_archive(tmp_path, ArchiveSettings(videos=1))
    first = next(tmp_path.glob("*.mp4"))
    before = first.stat()
    make_archive(tmp_path, ArchiveSettings(videos=2))
    assert first.stat() == before
    assert len(read_manifest(tmp_path)) == 2


def test_only_videos_that_are_made_are_told_of(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def make(videos: int) -> list[tuple[int, int]]:
        told.clear()
        settings = ArchiveSettings(videos=videos)
        make_archive(tmp_path, settings, report=lambda *counts: told.append(counts))
        return list(told)

    assert make(2) == [(0, 2), (1, 2), (2, 2)]
    assert make(2) == []
    assert make(3) == [(0, 1), (1, 1)]
    next(tmp_path.glob("*-00001.mp4")).unlink()
    assert make(3) == [(0, 1), (1, 1)]


def test_a_demo_archive_is_told_of_in_one_line_when_it_is_made_and_never_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        manifest = demo_archive("a", ArchiveSettings(videos=2))
        assert len(read_manifest(manifest.parent)) == 2
    assert capsys.readouterr().err == "Making 2 demo videos in demo/a.\n"


def test_two_processes_make_the_same_archive_as_one_to_the_byte(
    archive: Path, tmp_path: Path
) -> None:
    make_archive(tmp_path, ArchiveSettings(videos=3, seed=1), processes=2)
    assert read_manifest(tmp_path) == read_manifest(archive)
    for entry in read_manifest(archive):
        assert (tmp_path / entry.uri).read_bytes() == (archive / entry.uri).read_bytes()


def test_nothing_unfinished_is_left_behind(archive: Path) -> None:
    assert {path.suffix for path in archive.iterdir()} == {".mp4", ".csv", ".txt"}


def test_reading_takes_every_fourth_frame_at_the_models_size(archive: Path) -> None:
    scene = draw_scene(seed=1, split="test", index=0)
    frames = read_sampled(archive / "test-1-00000.mp4", size=112)
    assert frames.shape == ((scene.frames + 3) // 4, 112, 149, 3)
    assert frames.dtype == np.uint8


def test_reading_an_archive_pairs_videos_with_label_ids(archive: Path) -> None:
    assert [label_id for _, label_id in read_archive(archive, size=112)] == [0, 1, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"videos": 0},
        {"videos": 1, "split": "dev"},
        {"videos": 1, "crf": 99},
        {"videos": 1, "width": 321},
        {"videos": 1, "gop": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"at least 1|train, test|between 0 and 51|even"):
        ArchiveSettings(**wrong)  # type: ignore[arg-type]


def test_an_archive_of_another_size_has_that_size_and_its_keyframes(tmp_path: Path) -> None:
    make_archive(tmp_path, ArchiveSettings(videos=1, seed=1))
    make_archive(tmp_path, ArchiveSettings(videos=1, seed=1, width=640, height=360, gop=40))
    (entry,) = read_manifest(tmp_path)
    assert entry.uri == "test-1-00000-640x360-g40.mp4"
    with av.open(str(tmp_path / entry.uri)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (640, 360)
        keys = [frame.key_frame for frame in container.decode(stream)]
    places = [number for number, key in enumerate(keys) if key]
    assert places[0] == 0
    assert max(b - a for a, b in pairwise([*places, len(keys)])) <= 40


def test_the_command_writes_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_demo_archive.main([str(tmp_path / "new"), "--videos", "1"]) == 0
    assert (tmp_path / "new" / MANIFEST).is_file()
    assert "1 videos of 20 labels" in capsys.readouterr().out


def test_the_command_refuses_nonsense_before_any_work(tmp_path: Path) -> None:
    assert make_demo_archive.main([str(tmp_path / "new"), "--videos", "0"]) == 2
    assert not (tmp_path / "new").exists()
