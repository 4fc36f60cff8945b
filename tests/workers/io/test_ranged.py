"""Long recordings in an object storage: only what is needed of them travels."""

import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from sta.transport import retry
from tests import recordings, videos
from tests.scripted_storage import Storage
from workers.decoding import DecodedUnit, DecodeLimits, Measured, SandboxedDecoder, Unit
from workers.decoding import container as opening
from workers.failures import ErrorType, UnitFailure
from workers.io.content import Cursor
from workers.io.fetching import open_source
from workers.io.ranged import RangedObject
from workers.sampling import protocol

BLOCK = 1000
PROTOCOL = protocol("videomae-k400", size=56, every_s=2.0)
URI = "s3://bucket/long.mp4"


def ranged(storage: Storage, data: bytes, *, cache: int = 64, seconds: float = 10) -> RangedObject:
    storage.objects["/bucket/long.mp4"] = data
    return RangedObject(URI, seconds=seconds, block_bytes=BLOCK, cache_bytes=cache * BLOCK)


def test_it_reads_like_a_file_whatever_is_read_where(storage: Storage, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    data = rng.bytes(50_321)
    (tmp_path / "file").write_bytes(data)
    cursor = Cursor(ranged(storage, data, cache=8))
    with open(tmp_path / "file", "rb") as file:
        for _ in range(300):
            whence = int(rng.integers(0, 3))
            offset = (
                int(rng.integers(0, len(data))) if whence == 0 else int(rng.integers(-900, 900))
            )
            if whence == 2:
                offset = -abs(offset)
            if whence == 1 and file.tell() + offset < 0:
                continue
            assert cursor.seek(offset, whence) == file.seek(offset, whence)
            wanted = int(rng.integers(1, 3000))
            got = b""
            while piece := cursor.read(wanted - len(got)):
                got += piece
            assert got == file.read(wanted)
            assert cursor.tell() == file.tell()


def test_the_cache_is_bounded_and_what_is_in_it_is_not_asked_again(storage: Storage) -> None:
    remote = ranged(storage, os.urandom(100 * BLOCK), cache=8)
    for place in (50, 51, 50, 52, 51, 50):
        remote.read_at(place * BLOCK, 10)
    asked = len(storage.ranges)
    assert remote.received == storage.sent <= 6 * BLOCK
    remote.read_at(50 * BLOCK, BLOCK)
    assert len(storage.ranges) == asked
    for place in range(100):
        remote.read_at(place * BLOCK, 10)
    assert sum(len(block) for block in remote._blocks.values()) <= 8 * BLOCK


def test_reading_on_fetches_ever_more_at_once(storage: Storage) -> None:
    data = os.urandom(200 * BLOCK)
    cursor = Cursor(ranged(storage, data, cache=400))
    assert b"".join(iter(lambda: cursor.read(700), b"")) == data
    assert len(storage.ranges) < 12
    assert storage.sent == len(data)


def test_reading_on_in_two_places_by_turns_does_so_too(storage: Storage) -> None:
    remote = ranged(storage, os.urandom(200 * BLOCK), cache=400)
    for step in range(60):
        remote.read_at(step * BLOCK, 10)
        remote.read_at((120 + step) * BLOCK, 10)
    assert len(storage.ranges) < 20


def test_reads_here_and_there_fetch_one_block_each(storage: Storage) -> None:
    remote = ranged(storage, os.urandom(200 * BLOCK))
    for place in (150, 20, 90, 180, 60):
        remote.read_at(place * BLOCK + 5, 10)
    assert storage.sent == 6 * BLOCK


def test_every_read_is_of_the_same_version(storage: Storage) -> None:
    remote = ranged(storage, os.urandom(10 * BLOCK))
    assert remote.read_at(BLOCK, 10)
    storage.etag = '"two"'
    assert remote.read_at(5 * BLOCK, 10) == b""
    assert remote.failure is not None
    assert remote.failure.error_type is ErrorType.changed
    assert "while it was being read" in remote.failure.message


def test_after_a_failure_the_object_is_at_its_end(storage: Storage) -> None:
    remote = ranged(storage, os.urandom(10 * BLOCK), seconds=0.5)
    storage.answers["/bucket/long.mp4"] = 503, "SlowDown"
    assert remote.read_at(5 * BLOCK, 10) == b""
    asked = len(storage.ranges)
    assert remote.read_at(6 * BLOCK, 10) == b""
    assert len(storage.ranges) == asked
    assert remote.failure is not None
    assert "0.5 s" in remote.failure.message


def test_a_storage_without_ranges_is_named(storage: Storage) -> None:
    storage.serves_ranges = False
    with pytest.raises(UnitFailure, match="serves no ranges"):
        ranged(storage, os.urandom(10 * BLOCK))


class ScriptedTime:
    """In place of the module `time`: it goes on where somebody sleeps or says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + 1e-6  # late, as every sleep is


def test_waiting_counts_until_it_is_reset_and_the_time_between_reads_does_not(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ScriptedTime()
    monkeypatch.setattr(retry, "time", clock)
    remote = ranged(storage, os.urandom(100 * BLOCK), seconds=2.0)

    def read_after_a_refusal(place: int) -> bytes:
        storage.first = [(503, "SlowDown")]
        clock.now += 100  # a unit is decoded meanwhile
        return remote.read_at(place * 37 % 100 * BLOCK, 10)  # here and there: nothing is read ahead

    for place in range(1, 40):
        assert read_after_a_refusal(place)
        remote.retries.reset()
    for place in range(40, 90):
        if not read_after_a_refusal(place):
            break
    assert remote.failure is not None
    assert "2 s" in remote.failure.message


Long = Callable[..., Path]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Long:
    """Makes a recording of 16 minutes, some 30 MB."""
    folder = tmp_path_factory.mktemp("long")
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (144, 176 * 3, 3), dtype=np.uint8)
    short = folder / "short.mp4"
    with av.open(str(short), "w") as container:
        options = {"g": "40", "bf": "2", "preset": "ultrafast", "qp": "34"}
        stream = container.add_stream("libx264", rate=20, options=options)
        stream.width, stream.height, stream.pix_fmt = 176, 144, "yuv420p"
        for index in range(200):
            pixels = np.ascontiguousarray(noise[:, index : index + 176])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))

    def make(name: str, **options: str) -> Path:
        path = folder / name
        if not path.exists():
            recordings.lengthened(short, path, times=96, container_options=options)
        return path

    return make


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_unit_from_the_middle_transfers_a_small_share_of_the_file(
    name: str, storage: Storage, long: Long
) -> None:
    path = long(name)
    size = path.stat().st_size
    assert size > 15e6
    storage.objects[f"/bucket/{name}"] = path.read_bytes()
    with SandboxedDecoder(PROTOCOL) as sandbox:
        local = sandbox.decode(Unit("u", "v", str(path), 480.0, 512.0))
    storage.sent = 0
    with SandboxedDecoder(PROTOCOL) as sandbox:
        remote = sandbox.decode(Unit("u", "v", f"s3://bucket/{name}", 480.0, 512.0))
        first = storage.sent
        again = sandbox.decode(Unit("u", "v", f"s3://bucket/{name}", 512.0, 544.0))
    assert isinstance(local, DecodedUnit)
    assert isinstance(remote, DecodedUnit)
    assert isinstance(again, DecodedUnit)
    assert np.array_equal(remote.frames, local.frames)
    assert (remote.first_clip, remote.frame_count, remote.etag) == (240, 640, '"one"')
    assert remote.bytes_read == first < 0.2 * size
    assert again.bytes_read == storage.sent - first < 0.1 * size
    assert local.bytes_read < 0.2 * size


def test_measuring_transfers_a_small_share_too(storage: Storage, long: Long) -> None:
    path = long("a.mp4")
    storage.objects["/bucket/long.mp4"] = path.read_bytes()
    with SandboxedDecoder(PROTOCOL) as sandbox:
        result = sandbox.measure(Unit("u", "v", URI))
    assert isinstance(result, Measured)
    assert result.duration_s == pytest.approx(960.0)
    assert result.bytes_read == storage.sent < 0.1 * path.stat().st_size


def test_the_fragments_of_a_fragmented_recording_are_found_by_their_index(
    storage: Storage, long: Long
) -> None:
    path = long("fragments.mp4", movflags="frag_keyframe+empty_moov")
    storage.objects["/bucket/long.mp4"] = path.read_bytes()
    with SandboxedDecoder(PROTOCOL) as sandbox:
        result = sandbox.decode(Unit("u", "v", URI, 480.0, 512.0))
    assert isinstance(result, DecodedUnit)
    assert result.bytes_read < 0.2 * path.stat().st_size


@pytest.mark.slow
def test_a_storage_that_fails_in_mid_decode_is_unavailable_and_the_next_unit_decodes(
    storage: Storage, long: Long
) -> None:
    storage.objects["/bucket/long.mp4"] = long("a.mp4").read_bytes()
    limits = DecodeLimits(fetch_seconds=5.0)
    with SandboxedDecoder(PROTOCOL, limits=limits) as sandbox:
        before = sandbox.decode(Unit("u", "v", URI, 0.0, 32.0))
        storage.answers["/bucket/long.mp4"] = 500, "InternalError"
        broken = sandbox.decode(Unit("u", "v", URI, 640.0, 672.0))
        del storage.answers["/bucket/long.mp4"]
        after = sandbox.decode(Unit("u", "v", URI, 640.0, 672.0))
    assert isinstance(before, DecodedUnit)
    assert isinstance(broken, UnitFailure)
    assert broken.error_type is ErrorType.unavailable
    assert "5 s" in broken.message
    assert isinstance(after, DecodedUnit)


def test_a_recording_that_is_replaced_between_its_units_is_not_mixed(
    storage: Storage, long: Long
) -> None:
    storage.objects["/bucket/long.mp4"] = long("a.mp4").read_bytes()
    with SandboxedDecoder(PROTOCOL) as sandbox:
        first = sandbox.decode(Unit("u", "v", URI, 0.0, 32.0, etag='"one"'))
        storage.etag = '"two"'
        second = sandbox.decode(Unit("u", "v", URI, 640.0, 672.0, etag='"one"'))
    assert isinstance(first, DecodedUnit)
    assert isinstance(second, UnitFailure)
    assert second.error_type is ErrorType.changed


@pytest.mark.parametrize(
    "text", ["ffconcat version 1.0\nfile secret.mp4\n", "#EXTM3U\n#EXTINF:10,\nsecret.mp4\n"]
)
def test_a_playlist_in_the_storage_opens_no_other_file(
    text: str, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos.write_video(tmp_path / "secret.mp4", frames=20)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(opening.sniffing, "other_format", lambda head: None)
    storage.objects["/bucket/long.mp4"] = text.encode()
    with open_source(URI, ranged=True) as source:
        with pytest.raises(UnitFailure) as caught, opening.opened_video(source, DecodeLimits()):
            pass
        assert caught.value.error_type is ErrorType.not_video
