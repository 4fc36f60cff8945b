"""Long files without an index: the frames of a sequential decode, from a part of their packets."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import recordings, videos
from workers.decoding import DecodeLimits, Unit, planned, pyav
from workers.decoding import demuxer as demuxer
from workers.decoding.job import DecodeJob
from workers.io.fetching import open_source
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=48)
X264, X265 = "x264-params", "x265-params"
HEVC = "log-level=none:keyint=25:min-keyint=25"

SOURCES: dict[str, tuple[str, str, dict[str, str]]] = {
    "closed": ("mp4", "libx264", {X264: "keyint=25:bframes=2:scenecut=0"}),
    "open": ("mp4", "libx264", {X264: "keyint=25:bframes=3:open-gop=1:b-pyramid=normal"}),
    "fields": ("mp4", "libx264", {X264: "keyint=25:bframes=2:interlaced=1"}),
    "slices": ("mp4", "libx264", {X264: "keyint=25:slices=4"}),
    "refresh": ("mp4", "libx264", {X264: "keyint=25:intra-refresh=1"}),
    "plain": ("ts", "libx264", {X264: "keyint=25:bframes=0"}),
    "hevc": ("mp4", "libx265", {X265: f"{HEVC}:open-gop=0"}),
    "hevc_stream": ("ts", "libx265", {X265: HEVC}),
    "hevc_open": ("mp4", "libx265", {X265: f"{HEVC}:open-gop=1"}),
    "mpeg1": ("ts", "mpeg1video", {"g": "15", "bf": "2", "qmax": "2"}),
    "mpeg2": ("ts", "mpeg2video", {"g": "15", "bf": "2", "qmax": "2"}),
    "large": ("ts", "mpeg2video", {"g": "15", "bf": "2", "qmax": "2"}),
    "mpeg2_fields": ("ts", "mpeg2video", {"g": "15", "bf": "2", "flags": "+ildct+ilme"}),
    "mpeg4": ("ts", "mpeg4", {"g": "15", "bf": "2"}),
    "mpeg4_plain": ("ts", "mpeg4", {"g": "15"}),
    "mjpeg": ("nut", "mjpeg", {}),
    "flv1": ("nut", "flv", {"g": "15"}),
    "wmv2": ("nut", "wmv2", {"g": "15"}),
    "vp8": ("nut", "libvpx", {"g": "15"}),
}
PLANNED = {
    "closed": "ts m2ts flv nut",
    "open": "ts flv",
    "fields": "ts flv",
    "slices": "ts flv",
    "refresh": "ts",
    "plain": "avi mxf",
    "hevc": "ts flv",
    "hevc_open": "ts flv",
    "mpeg1": "ts mpg",
    "mpeg2": "ts m2ts mxf m2v",
    "large": "mpg vob",
    "mpeg2_fields": "ts avi",
    "mpeg4": "ts avi",
    "mpeg4_plain": "avi",
    "mjpeg": "avi",
    "vp8": "ogv ivf",
}
# Timestamps that lack, are guessed or are not those of presentation; codecs of which a packet does
# not show whether it is one frame.
IN_SEQUENCE = {
    "closed": "h264 asf mxf",
    "hevc_stream": "hevc",
    "flv1": "flv",
    "wmv2": "asf",
}


def names(kinds: dict[str, str]) -> list[str]:
    return [f"{name}.{end}" for name, ends in kinds.items() for end in ends.split()]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A short file of each kind, made when it is asked for first."""
    folder = tmp_path_factory.mktemp("sources")

    class Made(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            container, codec, options = SOURCES[name]
            pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            self[name] = videos.write_video(
                folder / f"{name}.{container}",
                frames=100,
                height=288 if name == "large" else 96,
                width=352 if name == "large" else 128,
                codec=codec,
                options=options,
                pixel_format=pixels,
            )
            return self[name]

    return Made()


@pytest.fixture(params=["kept", "read again"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Files that are small enough for their packets to be kept, and such that are not."""
    if request.param != "kept":
        monkeypatch.setattr(demuxer, "KEPT_BYTES", 0)
    return str(request.param)


@dataclass
class Ways:
    """Which way a decode took, and how many frames were decoded on it."""

    sequential: bool = False
    planned_frames: int = 0


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    taken = Ways()
    in_sequence, by_plan = pyav._decode_sequentially, planned._run_frames

    def sequential(*args: Any) -> Any:
        taken.sequential = True
        return in_sequence(*args)

    def counting(*args: Any) -> Iterator[Any]:
        for frame in by_plan(*args):
            taken.planned_frames += 1
            yield frame

    monkeypatch.setattr(pyav, "_decode_sequentially", sequential)
    monkeypatch.setattr(planned, "_run_frames", counting)
    return taken


def decode(path: Path, **segment: float) -> tuple[dict[str, Any], np.ndarray]:
    """What is reported of a video, and its frames."""
    rooms: list[np.ndarray] = []

    def allocate(shape: tuple[int, int, int, int]) -> np.ndarray:
        rooms.append(np.zeros(shape, dtype=np.uint8))
        return rooms[-1]

    with open_source(str(path)) as source:
        unit = Unit("unit", "video", str(path), **segment)
        job = DecodeJob(source, unit, PROTOCOL, DecodeLimits(), allocate)
        report = pyav.decode(job).report()
    return report, rooms[-1]


def assert_as_in_sequence(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, damaged: bool = False, **segment: float
) -> None:
    """Frames, times and counts are equal; of what was not decoded, damage may stay uncounted."""
    report, frames = decode(path, **segment)
    with monkeypatch.context() as patch:
        patch.setattr(pyav, "_saves_much", lambda *args: False)
        reference, true_frames = decode(path, **segment)
    if damaged and report["lost_frames"] < reference["lost_frames"]:
        reference["lost_frames"] = report["lost_frames"]
    assert report == reference
    assert np.array_equal(frames, true_frames)


def lengthened(sources: dict[str, Path], name: str, folder: Path, *, times: int = 12) -> Path:
    return recordings.lengthened(sources[Path(name).stem], folder / name, times=times)


@pytest.mark.parametrize("name", names(PLANNED))
def test_a_planned_decode_gives_the_frames_of_a_sequential_one(
    name: str,
    tmp_path: Path,
    sources: dict[str, Path],
    kept: str,
    ways: Ways,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = lengthened(sources, name, tmp_path)
    decode(path)
    assert not ways.sequential
    assert 0 < ways.planned_frames < 600, "of 1200"
    assert_as_in_sequence(path, monkeypatch)


@pytest.mark.parametrize("name", names(IN_SEQUENCE))
def test_files_that_may_be_wrong_are_decoded_sequentially(
    name: str, tmp_path: Path, sources: dict[str, Path], kept: str, ways: Ways
) -> None:
    path = lengthened(sources, name, tmp_path)
    report, _ = decode(path)
    assert ways.sequential
    assert report["frame_count"] == 1200


def test_a_longer_file_costs_no_more_decoding(
    tmp_path: Path, sources: dict[str, Path], ways: Ways
) -> None:
    counts = []
    for times in (20, 60):
        ways.planned_frames = 0
        decode(lengthened(sources, "closed.ts", tmp_path, times=times))
        counts.append(ways.planned_frames)
    assert counts[1] < counts[0] + 30


@pytest.mark.parametrize("name", ["closed.ts", "hevc_open.ts", "mpeg2.mxf", "plain.avi"])
def test_a_segment_is_decoded_from_a_part_of_the_packets_too(
    name: str,
    tmp_path: Path,
    sources: dict[str, Path],
    kept: str,
    ways: Ways,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = lengthened(sources, name, tmp_path)
    decode(path, start_s=20.0, end_s=24.0)
    assert not ways.sequential
    assert_as_in_sequence(path, monkeypatch, start_s=20.0, end_s=24.0)


@pytest.mark.parametrize("name", ["closed.ts", "open.ts", "hevc_open.ts", "mpeg2.ts"])
def test_a_capture_that_begins_in_the_middle(
    name: str,
    tmp_path: Path,
    sources: dict[str, Path],
    kept: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = lengthened(sources, name, tmp_path)
    path = tmp_path / f"headless_{name}"
    path.write_bytes(whole.read_bytes()[188 * 60 :])
    assert_as_in_sequence(path, monkeypatch)


@pytest.mark.parametrize("name", ["closed.ts", "closed.flv", "large.mpg", "mpeg4.avi"])
@pytest.mark.parametrize("damage", ["zeros", "cut off", "bytes lost"])
def test_damage_changes_neither_frames_nor_their_numbers(
    name: str,
    damage: str,
    tmp_path: Path,
    sources: dict[str, Path],
    kept: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = lengthened(sources, name, tmp_path)
    path = tmp_path / f"damaged_{name}"
    if damage == "zeros":
        videos.damaged(whole, path, start=0.333, stop=0.335)
    elif damage == "cut off":
        videos.cut_off(whole, path, share=0.7777)
    else:
        data = whole.read_bytes()
        path.write_bytes(data[: len(data) // 3] + data[len(data) // 3 + 2000 :])
    assert_as_in_sequence(path, monkeypatch, damaged=True)


def test_joined_recordings_whose_timestamps_restart(
    tmp_path: Path,
    sources: dict[str, Path],
    kept: str,
    ways: Ways,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = lengthened(sources, "closed.ts", tmp_path)
    other = lengthened(sources, "open.ts", tmp_path, times=5)
    for number, parts in enumerate([(part, part), (part, other), (other, part)]):
        path = tmp_path / f"joined_{number}.ts"
        path.write_bytes(b"".join(one.read_bytes() for one in parts))
        ways.sequential = False
        decode(path)
        assert ways.sequential
        assert_as_in_sequence(path, monkeypatch)


def test_timestamps_that_wrap(
    tmp_path: Path, sources: dict[str, Path], kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrap = 2**33 / 90_000
    path = recordings.lengthened(
        sources["closed"], tmp_path / "wrap.ts", times=12, offset_s=wrap - 20.0
    )
    assert_as_in_sequence(path, monkeypatch)


def test_parameters_that_change_in_the_middle(
    tmp_path: Path, kept: str, ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = videos.write_video(tmp_path / "one.ts", frames=600, options={"g": "25"})
    two = videos.write_video(
        tmp_path / "two.ts", frames=300, options={"g": "25"}, height=128, width=160
    )
    moved = recordings.lengthened(two, tmp_path / "moved.ts", times=1, offset_s=20.0)
    path = tmp_path / "both.ts"
    path.write_bytes(one.read_bytes() + moved.read_bytes())
    decode(path)
    assert ways.sequential
    assert_as_in_sequence(path, monkeypatch)
