"""The decoding benchmark checks frames before it times, and says what it compares with."""

import json
import shutil
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from pipeline.lab.benchmark import decoders
from pipeline.lab.benchmark.decode import DecodeBenchmark, run_decode
from pipeline.lab.benchmark.decoders import Sandboxed, check_equality
from pipeline.lab.benchmark.generated_videos import HEIGHT, RATE, WIDTH, write_clip
from pipeline.lab.benchmark.paired import OutputsDiffer
from pipeline.lab.benchmark.report import Report, save
from tests import videos

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not here")

SHORT = {"rounds": 1, "seconds": 1.0, "long_seconds": 2.0}


@pytest.fixture
def sandboxed() -> Any:
    with closing(Sandboxed()) as decoder:
        yield decoder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return videos.write_video(tmp_path / "clip.mp4", frames=40, options={"bf": "2", "g": "12"})


def rows_of(report: Report, video: str) -> dict[str, Any]:
    return {row["what"]: row for row in report.rows if row["video"] == video}


@pytest.mark.slow
def test_without_ffmpeg_the_reference_is_a_plain_decode_and_the_table_says_so(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    report = run_decode(DecodeBenchmark(videos=(clip,), **SHORT))
    assert "The reference is PyAV, every frame." in report.text()
    assert "ffmpeg" not in report.text()
    own = rows_of(report, "clip.mp4")
    assert own["PyAV, every frame"]["of_reference"].median == 1.0
    assert own["sandboxed"]["of_reference"].median > 0
    assert own["sandboxed"]["at_most"] == 1.2


@pytest.mark.slow
@needs_ffmpeg
def test_each_video_is_measured_in_every_way_and_recordings_not_by_view(tmp_path: Path) -> None:
    report = run_decode(DecodeBenchmark(**SHORT))
    clip, long = rows_of(report, "made, 1 s"), rows_of(report, "made, 2 s")
    assert set(clip) == set(rows_of(report, "no B-frames, 1 s"))
    assert set(clip) - set(long) == {"15 views singly", "15 views singly, plain"}
    assert clip["ffmpeg, every frame"]["of_reference"].median == 1.0
    assert all(row["core_ms"].median > 0 for row in report.rows)
    assert clip["15 views singly, plain"]["of_once"].median > 1
    assert long["sandboxed"]["at_most"] is None, "the goal is that of a longer recording"
    saved = json.loads(save(report, tmp_path)[0].read_text())
    assert saved["conditions"]["reference_start_ms"] > 0
    assert len(saved["rows"]) == len(report.rows)


@pytest.mark.slow
def test_another_decoder_is_measured_and_its_frames_are_compared(clip: Path) -> None:
    pytest.importorskip("decord")
    report = run_decode(DecodeBenchmark(videos=(clip,), decoder="decord", **SHORT))
    row = rows_of(report, "clip.mp4")["sandboxed, decord"]
    assert (row["same"], row["off"]) == (1.0, 0.0)
    assert row["core_ms"].median > 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b_frames.mp4", {"options": {"bf": "3", "g": "10"}}),
        ("turned.mp4", {"rotation": 90}),
        ("mpeg4.avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
        ("small.mp4", {"frames": 3}),
    ],
)
def test_equal_frames_pass_the_check(
    name: str, options: dict[str, Any], tmp_path: Path, sandboxed: Sandboxed
) -> None:
    path = videos.write_video(tmp_path / name, **options)
    assert check_equality(path, sandboxed) == len(videos.sequential_frames(path))


@pytest.mark.parametrize("what", ["full size", "resized", "clip 2 alone"])
def test_a_decoder_that_gives_another_frame_is_not_timed(
    what: str, clip: Path, sandboxed: Sandboxed, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = decoders.decode_here

    def wrong(path: Path, sampling: Any = decoders.PROTOCOL) -> Any:
        decoded, frames = plain(path, sampling)
        kind = type(sampling).__name__.strip("_")
        name = {"FullSize": "full size", "Protocol": "resized"}.get(kind)
        if (name or f"clip {sampling.clip} alone") == what:
            frames[-1, 0, 0, 0] ^= 1
        return decoded, frames

    monkeypatch.setattr(decoders, "decode_here", wrong)
    with pytest.raises(OutputsDiffer, match=rf"clip\.mp4, {what}: frame \d+ is not that"):
        check_equality(clip, sandboxed)


def test_a_sandbox_that_gives_another_frame_is_not_timed(
    clip: Path, sandboxed: Sandboxed, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = sandboxed.frames(clip)
    unit.frames[0] = 255 - unit.frames[0]
    monkeypatch.setattr(sandboxed, "frames", lambda path: unit)
    with pytest.raises(OutputsDiffer, match="sandboxed: frame 0 is not that"):
        check_equality(clip, sandboxed)


def test_a_file_that_is_no_video_is_named(tmp_path: Path, sandboxed: Sandboxed) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("no video\n" * 50)
    with pytest.raises(ValueError, match=r"text\.mp4"):
        check_equality(path, sandboxed)


@pytest.mark.parametrize("b_frames", [True, False])
def test_a_clip_that_is_made_has_the_size_the_length_and_the_frames_that_were_asked_for(
    b_frames: bool, tmp_path: Path
) -> None:
    path = write_clip(tmp_path / "a.mp4", seconds=0.5, b_frames=b_frames)
    frames = videos.sequential_frames(path)
    assert [frame.shape for frame in frames] == [(HEIGHT, WIDTH, 3)] * (RATE // 2)
    assert not any(np.array_equal(a, b) for a, b in pairwise(frames))
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        kinds = {frame.pict_type for frame in container.decode(video=0)}
    assert (PictureType.B in kinds) is b_frames


@pytest.mark.parametrize(
    "wrong",
    [{"rounds": 0}, {"seconds": 0.0}, {"seconds": 200.0}, {"videos": (Path("absent.mp4"),)}],
)
def test_options_that_measure_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"rounds|seconds|no such file"):
        DecodeBenchmark(**wrong)
