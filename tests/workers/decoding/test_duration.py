"""How long a video is: from its timestamps, whatever its header says, without decoding it."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests import recordings, videos
from workers.decoding import Measured, SandboxedDecoder, Unit
from workers.failures import ErrorType, UnitFailure
from workers.measure_actor import MeasureActor
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56, every_s=2.0)
CORPUS = Path(__file__).resolve().parents[3].parent / "shared" / "corpus"


@pytest.fixture(scope="module")
def decoder() -> Iterator[SandboxedDecoder]:
    with SandboxedDecoder(PROTOCOL) as sandbox:
        yield sandbox


def measure(decoder: SandboxedDecoder, path: Path) -> float:
    result = decoder.measure(Unit("u", "v", str(path)))
    assert isinstance(result, Measured), result
    return result.duration_s


CASES: dict[str, dict[str, Any]] = {
    "a.mp4": {"options": {"bf": "3", "g": "60"}},
    "open.mp4": {"options": {"x264-params": "open-gop=1:keyint=40:bframes=3"}},
    "a.mkv": {"options": {"bf": "3", "g": "300"}},
    "live.mkv": {"container_options": {"live": "1"}},
    "a.ts": {"options": {"bf": "3", "g": "60"}},
    "a.flv": {"options": {"bf": "2"}},
    "a.avi": {"codec": "mpeg4"},
    "a.mpg": {"codec": "mpeg2video"},
    "a.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "10"}},
    "fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "no_index.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov+skip_trailer"}},
    "one_frame.mp4": {"frames": 1},
}


@pytest.mark.parametrize("name", CASES)
def test_a_video_is_as_long_as_its_frames_are_shown(
    name: str, tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    options = {"frames": 300, **CASES[name]}
    path = videos.write_video(tmp_path / name, **options)
    assert measure(decoder, path) == pytest.approx(options["frames"] / 30, abs=2e-3)


def test_what_an_edit_list_cuts_away_does_not_count(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    whole = videos.write_video(tmp_path / "a.mp4", frames=300, options={"bf": "2", "g": "60"})
    path = videos.cut_copy(whole, tmp_path / "cut.mp4", skip=77)
    frames = len(videos.sequential_frames(path))
    assert measure(decoder, path) == pytest.approx(frames / 30)


def test_irregular_frames_and_longer_sound_do_not_confuse_it(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    lengths = [
        measure(decoder, recordings.write_irregular(tmp_path / name))
        for name in ("a.mp4", "a.mkv", "a.ts")
    ]
    assert lengths == pytest.approx([lengths[0]] * 3, abs=0.05)


def test_a_header_that_lies_is_not_believed(tmp_path: Path, decoder: SandboxedDecoder) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=90)
    data = bytearray(path.read_bytes())
    for box, version_0_duration in ((b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16)):
        at = data.index(box) + 4 + version_0_duration
        data[at : at + 4] = struct.pack(">I", 0xFFFFFFF0)
    path.write_bytes(data)
    assert measure(decoder, path) == pytest.approx(3.0)


def test_only_what_can_be_read_of_a_cut_file_counts(
    tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    options = {"movflags": "faststart"}
    whole = videos.write_video(tmp_path / "a.mp4", frames=300, container_options=options)
    path = videos.cut_off(whole, tmp_path / "cut.mp4", share=0.6)
    frames = len(videos.sequential_frames(path))
    assert measure(decoder, path) == pytest.approx(frames / 30, abs=0.1)


def test_joined_recordings_are_as_long_as_both(tmp_path: Path, decoder: SandboxedDecoder) -> None:
    one = videos.write_video(tmp_path / "one.ts", frames=300, options={"g": "30"})
    two = videos.write_video(tmp_path / "two.ts", frames=240, options={"g": "30"})
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    assert measure(decoder, both) == pytest.approx(18.0, abs=0.1)


@pytest.mark.parametrize(
    ("content", "kind"), [(b"", ErrorType.empty), (b"words " * 99, ErrorType.not_video)]
)
def test_what_is_no_video_has_a_reason(
    content: bytes, kind: ErrorType, tmp_path: Path, decoder: SandboxedDecoder
) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    result = decoder.measure(Unit("u", "v", str(tmp_path / "a.mp4")))
    assert isinstance(result, UnitFailure)
    assert result.error_type is kind


def test_timestamps_of_years_are_not_believed(tmp_path: Path, decoder: SandboxedDecoder) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=90, options={"bf": "0"})
    data = bytearray(path.read_bytes())
    at = data.index(b"mdhd") + 4 + 12  # ticks per second: one frame is then shown for minutes
    data[at : at + 4] = struct.pack(">I", 1)
    path.write_bytes(data)
    result = decoder.measure(Unit("u", "v", str(path)))
    assert isinstance(result, Measured)
    data[data.index(b"stts") + 16 : data.index(b"stts") + 20] = struct.pack(">I", 1 << 23)
    path.write_bytes(data)
    result = decoder.measure(Unit("u", "v", str(path)))
    assert isinstance(result, UnitFailure), result
    assert result.error_type is ErrorType.corrupt
    assert "days" in result.message


def test_the_actor_adds_a_column_and_touches_no_other(tmp_path: Path) -> None:
    video = videos.write_video(tmp_path / "a.mp4", frames=90)
    (tmp_path / "text.mp4").write_text("no video")
    table = pa.table(
        {
            "unit_id": ["a", "b", "c"],
            "video_id": ["a.mp4", "text.mp4", "none.mp4"],
            "uri": [str(video), str(tmp_path / "text.mp4"), str(tmp_path / "none.mp4")],
            "size_bytes": [1, None, 3],
            "etag": pa.array([None, None, None], pa.string()),
            "unheard_of": [[1], [2, 3], None],
        }
    )
    measured = MeasureActor(PROTOCOL)(table)
    assert measured.drop_columns(["duration_s"]).equals(table)
    assert measured.schema.field("duration_s").type == pa.float64()
    assert measured["duration_s"].to_pylist() == [pytest.approx(3.0), None, None]
    assert MeasureActor(PROTOCOL)(measured.slice(0, 0)).schema.equals(measured.schema)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real videos is not here")
@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("hostile/lie_duration.mp4", 10.0),
        ("hostile/lie_stts_huge.mp4", 10.0),
        ("hostile/audio_longer.mp4", 10.0),
        ("hostile/start_offset_10s.mkv", 3.066),
        ("hostile/vp8_noduration.webm", 5.0),
        ("hostile/ts_headless.ts", 1.667),
        ("hostile/cut_half_moov_first.mp4", 4.433),
        ("hostile/fragmented_cut.mp4", 4.567),
        ("hostile/mkv_cut.mkv", 4.566),
        ("real/moviepy/no_duration.webm", 4.938),
    ],
)
def test_real_headers_that_lie(name: str, seconds: float, decoder: SandboxedDecoder) -> None:
    assert measure(decoder, CORPUS / name) == pytest.approx(seconds, abs=2e-3)
