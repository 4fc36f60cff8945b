"""With fast decoding, clips of an MP4 file are decoded by its index, from few of its bytes."""

from pathlib import Path

import av
import numpy as np
import pytest

from tests import videos
from tests.scripted_storage import Storage
from workers.decoding import DecodedUnit, SandboxedDecoder, Unit
from workers.decoding.media_data import media_range
from workers.io.content import BytesContent, ContentWithHole, Source
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56)
FASTSTART = {"movflags": "faststart"}
SECOND = (1,)


def write(
    path: Path, *, height: int = 96, container: dict[str, str] | None = None, **options: str
) -> Path:
    codec = options.pop("codec", "libx264")
    return videos.write_video(
        path,
        frames=300,
        height=height,
        width=height * 4 // 3,
        codec=codec,
        options={"g": "30", "bf": "2", "crf": "4", "preset": "veryfast"} | options,
        container_options=container,
    )


def decoded(path: Path | str, clips: tuple[int, ...] | None, mode: str = "fast") -> DecodedUnit:
    with SandboxedDecoder(PROTOCOL, mode=mode) as decoder:
        found = decoder.decode(Unit("unit", "video", str(path), clips=clips))
    assert isinstance(found, DecodedUnit), found
    return found


def assert_clip_of(part: DecodedUnit, whole: DecodedUnit, clip: int) -> None:
    place = list(part.clips or range(PROTOCOL.clips)).index(clip)
    assert np.array_equal(part.clip_times[place], whole.clip_times[clip])
    pixels = whole.frames[whole.clip_frames[clip]]
    assert np.array_equal(part.frames[part.clip_frames[place]], pixels)
    figures = ("frame_count", "duration_s", "lost_frames")
    assert [getattr(part, f) for f in figures] == [getattr(whole, f) for f in figures]


@pytest.mark.parametrize(
    ("container", "options"),
    [
        (None, {}),
        (FASTSTART, {}),
        pytest.param(
            FASTSTART,
            {"codec": "libx265", "x265-params": "log-level=none:keyint=30:open-gop=0"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["index behind", "index in front", "hevc"],
)
def test_a_clip_takes_a_part_of_the_bytes_and_is_that_of_a_whole_decode(
    tmp_path: Path, container: dict[str, str] | None, options: dict[str, str]
) -> None:
    path = write(tmp_path / "a.mp4", height=360, container=container, **options)
    part = decoded(path, SECOND)
    assert part.bytes_read < 0.5 * path.stat().st_size
    assert_clip_of(part, decoded(path, None), 1)


def test_exact_decoding_reads_every_packet(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", container=FASTSTART)
    assert decoded(path, SECOND, "exact").bytes_read == path.stat().st_size


@pytest.mark.slow
def test_of_an_object_no_more_travels_than_a_clip_needs(storage: Storage, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", height=480, container=FASTSTART, qp="0", preset="ultrafast")
    size = path.stat().st_size
    assert size > 8e6
    storage.objects["/bucket/a.mp4"] = path.read_bytes()
    part = decoded("s3://bucket/a.mp4", SECOND)
    assert part.bytes_read == storage.sent < 0.6 * size  # each fetch is twice the last
    assert_clip_of(part, decoded(path, None), 1)


@pytest.mark.parametrize(
    ("name", "container", "options"),
    [
        ("open groups.mp4", FASTSTART, {"x264-params": "open-gop=1:keyint=30"}),
        ("intra refresh.mp4", FASTSTART, {"x264-params": "intra-refresh=1:keyint=30"}),
        ("fragments.mp4", {"movflags": "frag_keyframe+empty_moov"}, {}),
        ("a.mkv", None, {}),
        ("a.ts", None, {}),
    ],
)
def test_where_the_index_is_not_enough_the_whole_is_read(
    tmp_path: Path, name: str, container: dict[str, str] | None, options: dict[str, str]
) -> None:
    path = write(tmp_path / name, container=container, **options)
    assert_clip_of(decoded(path, SECOND), decoded(path, None), 1)


def test_a_packet_that_holds_no_frame_is_noticed_where_it_is_read(tmp_path: Path) -> None:
    """All frames after it have other numbers than the index says."""
    path = write(tmp_path / "a.mp4", container=FASTSTART)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        place = [packet.pos for packet in container.demux(video=0) if packet.size][70]
    data[place + 4] = 0x0C  # filler data in place of a slice
    path.write_bytes(data)
    assert_clip_of(decoded(path, SECOND), decoded(path, None), 1)


def box(kind: bytes, size: int) -> bytes:
    return (8 + size).to_bytes(4, "big") + kind + bytes(size)


FTYP, MOOV = box(b"ftyp", 8), box(b"moov", 20)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (FTYP + MOOV + box(b"mdat", 30), (52, 82)),
        (FTYP + box(b"mdat", 30) + MOOV, (24, 54)),
        (FTYP + MOOV + b"\0\0\0\1mdat" + (46).to_bytes(8, "big") + bytes(30), (60, 90)),
        (FTYP + MOOV + b"\0\0\0\0mdat" + bytes(30), (52, 82)),
        (FTYP + MOOV + box(b"mdat", 30)[:-10], (52, 72)),
        (FTYP + MOOV + box(b"mdat", 3) + box(b"mdat", 3), None),
        (FTYP + MOOV + box(b"moof", 3) + box(b"mdat", 3), None),
        (FTYP + MOOV + b"\0\0\0\3mdat", None),
        (FTYP + box(b"free", 0) * 100 + box(b"mdat", 3), None),
        (MOOV + box(b"mdat", 30), None),
        (b"RIFF", None),
        (b"", None),
    ],
)
def test_where_the_pictures_lie(data: bytes, expected: tuple[int, int] | None) -> None:
    assert media_range(Source(BytesContent(data))) == expected


def test_a_hole_reads_as_zeros_and_all_else_as_it_is() -> None:
    data = bytes(range(1, 101))
    content = ContentWithHole(BytesContent(data))
    assert content.read_at(0, 100) == data
    content.hole = (20, 60)
    read = b""
    while piece := content.read_at(len(read), 7):
        read += piece
    assert read == data[:20] + bytes(40) + data[60:]
