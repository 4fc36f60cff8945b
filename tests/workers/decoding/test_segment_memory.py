"""What a decoder holds in memory depends on the unit, not on the length of the recording."""

from pathlib import Path

import av
import numpy as np
import pytest

from tests import recordings
from tests.scripted_storage import Storage
from workers.decoding import DecodedUnit, SandboxedDecoder, Unit
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56, every_s=2.0, views=(4, 1))
MIB = 1024


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 seconds in small packets, of which hours fit into a few megabytes."""
    path = tmp_path_factory.mktemp("short") / "short.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "50", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.thread_count = 1
        for index in range(500):
            pixels = np.full((64, 64, 3), index % 250, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def peak_kib(sandbox: SandboxedDecoder) -> int:
    """The most resident memory that the decoder's process ever had, in KiB."""
    status = Path(f"/proc/{sandbox.child_pid}/status")
    if not status.exists():
        pytest.skip("needs /proc")
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


def peak_of_last_units(uri: str, length_s: float) -> int:
    with SandboxedDecoder(PROTOCOL) as sandbox:
        for start in (length_s / 2, length_s - 16, length_s - 8):
            result = sandbox.decode(Unit("u", "v", uri, start, start + 8))
            assert isinstance(result, DecodedUnit), result
            assert result.frame_count == 200
        return peak_kib(sandbox)


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.mp4", "fragmented.mp4"])
def test_units_of_three_hours_need_little_more_than_those_of_minutes(
    name: str, short: Path, tmp_path: Path
) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"} if name == "fragmented.mp4" else None
    peaks = []
    for times in (30, 540):
        path = recordings.lengthened(
            short, tmp_path / f"{times}_{name}", times=times, container_options=options
        )
        peaks.append(peak_of_last_units(str(path), times * 20.0))
        path.unlink()
    # The library keeps the sample table of an MP4, some 100 bytes a frame: 270,000 of them here.
    allowed = 40 * MIB if name == "a.mp4" else 16 * MIB
    assert peaks[1] - peaks[0] < allowed


@pytest.mark.slow
def test_a_recording_is_never_held_whole_while_it_is_read_by_ranges(
    short: Path, tmp_path: Path, storage: Storage
) -> None:
    path = recordings.lengthened(short, tmp_path / "a.mkv", times=300)
    length_s = 300 * 20.0
    alone = peak_of_last_units(str(path), length_s)
    storage.objects["/bucket/a.mkv"] = path.read_bytes() + bytes(400 << 20)
    ranged = peak_of_last_units("s3://bucket/a.mkv", length_s)
    assert ranged - alone < 150 * MIB
