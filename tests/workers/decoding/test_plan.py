"""Planning decodes no more than needed and nothing too little."""

from pathlib import Path

import av
import numpy as np
import pytest

from tests import videos
from workers.decoding import nal, planned, pyav
from workers.decoding.job import DecodeJob
from workers.decoding.plan import decoding_runs, length_s, select
from workers.decoding.types import DecodeLimits, Unit
from workers.failures import UnitFailure
from workers.io.fetching import open_source
from workers.sampling import protocol

UNIT = Unit("unit", "video", "uri")


def entries(*places: int, count: int = 200) -> np.ndarray:
    flags = np.zeros(count, dtype=np.bool_)
    flags[list(places)] = True
    return flags


def runs(entry: np.ndarray, packets: list[int], pts: np.ndarray | None = None) -> object:
    times = np.arange(len(entry)) if pts is None else pts
    return decoding_runs(entry, times.astype(np.int64), np.array(packets))


def test_decoding_starts_at_the_last_entry_before_a_wanted_frame() -> None:
    assert runs(entries(0, 50, 100), [120, 125]) == [(100, 125)]


def test_decoding_starts_at_the_beginning_where_there_is_no_entry() -> None:
    assert runs(entries(), [120]) == [(0, 120)]


def test_a_jump_is_made_only_where_it_saves_enough() -> None:
    assert runs(entries(0, 100), [10, 110]) == [(0, 10), (100, 110)]
    assert runs(entries(0, 20), [10, 25]) == [(0, 25)]


def test_a_picture_shown_before_its_entry_is_reached_from_the_entry_before() -> None:
    pts = np.arange(200)
    pts[[100, 101]] = [101, 100]
    assert runs(entries(0, 100), [101], pts) == [(0, 101)]


def test_a_segment_without_frames_fails_with_the_duration_of_the_video() -> None:
    with pytest.raises(UnitFailure, match=r"1\.98 s long"):
        select(
            np.arange(100) / 50, Unit("u", "v", "x", start_s=4, end_s=5), protocol("videomae-k400")
        )


def test_the_last_frame_counts_for_its_own_duration_or_the_usual_gap() -> None:
    times = np.array([0.0, 0.5, 1.0])
    assert length_s(times, 0.25, 0.04) == 1.25
    assert length_s(times, 0.0, 0.04) == 1.5
    assert length_s(times[:1], 0.0, 0.04) == 0.04


def packets_of(path: Path) -> tuple[str, int, list[bytes], list[bool]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context.name
        prefix = nal.framing(codec, stream.codec_context.extradata)
        assert prefix is not None
        packets = [p for p in container.demux(stream) if p.size]
        return codec, prefix, [bytes(p) for p in packets], [p.is_keyframe for p in packets]


def test_the_points_of_an_intra_refresh_are_no_entries(tmp_path: Path) -> None:
    options = {"x264-params": "intra-refresh=1:keyint=20"}
    path = videos.write_video(tmp_path / "a.mp4", options=options)
    codec, prefix, packets, flagged = packets_of(path)
    found = [nal.is_entry(codec, memoryview(p), prefix) for p in packets]
    assert found == [True] + [False] * 59
    assert sum(flagged) > 1


@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])
def test_the_open_groups_of_an_exact_encoder_are_recovery_points_and_no_entries(
    name: str, tmp_path: Path
) -> None:
    options = {"x264-params": "open-gop=1:keyint=20:bframes=3:scenecut=0"}
    path = videos.write_video(tmp_path / name, options=options)
    codec, prefix, packets, _ = packets_of(path)
    entries = [nal.is_entry(codec, memoryview(p), prefix) for p in packets]
    recoveries = [nal.is_exact_recovery(codec, memoryview(p), prefix) for p in packets]
    assert entries == [True] + [False] * 59
    assert sum(recoveries) == 2


def test_the_points_of_an_intra_refresh_are_no_exact_recoveries(tmp_path: Path) -> None:
    options = {"x264-params": "intra-refresh=1:keyint=20"}
    codec, prefix, packets, _ = packets_of(videos.write_video(tmp_path / "a.mp4", options=options))
    assert not any(nal.is_exact_recovery(codec, memoryview(p), prefix) for p in packets[1:])


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.ts", "libx264", {"g": "20"}),
        ("a.ts", "libx265", {"x265-params": "log-level=none:keyint=20:min-keyint=20"}),
        ("a.ts", "mpeg2video", {"g": "20"}),
    ],
)
def test_entries_are_found_in_a_byte_stream_too(
    name: str, codec: str, options: dict[str, str], tmp_path: Path
) -> None:
    path = videos.write_video(tmp_path / name, codec=codec, options=options)
    codec, prefix, packets, flagged = packets_of(path)
    assert prefix == 0
    found = [nal.is_entry(codec, memoryview(p), prefix) for p in packets]
    assert found == flagged
    assert sum(found) == 3


def test_a_run_goes_on_to_the_last_packet_shown_before_a_wanted_one() -> None:
    pts = np.arange(200)
    pts[[60, 61, 62]] = [62, 60, 61]
    assert runs(entries(0, 50), [60], pts) == [(50, 62)]


def test_a_packet_that_makes_no_sense_is_no_entry() -> None:
    for data in (b"", b"\0\0\0", b"\xff" * 20, b"\0\0\0\x02\x65"):
        assert not nal.is_entry("h264", memoryview(data), 4)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_segment_of_a_long_video_is_decoded_without_the_packets_before(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = videos.write_video(tmp_path / name, frames=900, options={"g": "30", "bf": "2"})
    fed = 0
    plain = planned._run_frames

    def counting(*args: object) -> object:
        nonlocal fed
        for frame in plain(*args):  # type: ignore[arg-type]
            fed += 1
            yield frame

    monkeypatch.setattr(planned, "_run_frames", counting)
    segment = Unit("unit", "video", str(path), start_s=20.0, end_s=22.0)
    with open_source(str(path)) as source:
        pyav.decode(
            DecodeJob(
                source,
                segment,
                protocol("videomae-k400", size=56),
                DecodeLimits(),
                lambda shape: np.empty(shape, dtype=np.uint8),
            )
        )
    assert 16 <= fed <= 90
