"""Objects are fetched once and whole, or there is a reason; nothing secret is ever said."""

import os
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests import scripted_storage, videos
from tests.disks import small_disk
from tests.scripted_storage import SECRET, Storage
from workers.decoding import DecodedUnit, DecodeLimits, SandboxedDecoder, Unit
from workers.failures import ErrorType, UnitFailure
from workers.io import fetching
from workers.io.content import FileContent
from workers.io.fetching import open_source
from workers.sampling import protocol


def failure(uri: str, **options: Any) -> UnitFailure:
    with pytest.raises(UnitFailure) as caught, open_source(uri, **options):
        pass
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def content(uri: str) -> bytes:
    with open_source(uri) as source:
        return source.head(source.size)


def test_an_object_arrives_whole(storage: Storage) -> None:
    storage.objects["/bucket/a/b.mp4"] = data = os.urandom(3_000_000)
    with open_source("s3://bucket/a/b.mp4") as source:
        assert source.head(source.size) == data
        assert source.head(4) == data[:4]
        assert source.size == source.fetched == len(data)
    assert storage.ranges == [None]


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_nothing_is_left_in_the_temporary_folder(
    memory: int, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(fetching, "MEMORY_BYTES", memory)
    storage.objects["/bucket/key"] = b"abc" * 1000
    with open_source("s3://bucket/key"):
        pass  # the first request of a process opens descriptors that its threads keep
    before = len(os.listdir("/proc/self/fd"))
    with open_source("s3://bucket/key") as source:
        assert list(tmp_path.iterdir()) == []
        assert source.head(source.size) == b"abc" * 1000
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the client's connection


def test_a_full_temporary_folder_is_named_with_what_is_needed(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.objects["/bucket/key"] = bytes(4_000_000)
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
        monkeypatch.setattr(fetching, "MEMORY_BYTES", 0)
        result = failure("s3://bucket/key")
    assert result.error_type is ErrorType.internal
    assert result.message.startswith(
        f"no space left in {disk.folder} for fetching an object of 4,000,000 bytes ("
    )
    assert "TMPDIR names another folder" in result.message


def test_a_broken_connection_is_taken_up_where_it_broke(storage: Storage) -> None:
    storage.objects["/bucket/key"] = data = os.urandom(4_000_000)
    storage.cuts = [1_500_000, 1_000_000]
    with open_source("s3://bucket/key") as source:
        assert source.head(source.size) == data
        assert source.fetched == len(data)
    assert len(storage.ranges) == 3
    assert all(asked is not None for asked in storage.ranges[1:])


def test_a_connection_that_keeps_breaking_is_a_row_with_a_reason(storage: Storage) -> None:
    storage.objects["/bucket/key"] = os.urandom(9_000_000)
    storage.cuts = [30_000] * 1000
    result = failure("s3://bucket/key", seconds=1)
    assert result.error_type is ErrorType.unavailable
    assert "1 s" in result.message
    assert result.bytes_read > 0


def test_an_object_replaced_while_it_is_read_is_not_mixed(storage: Storage) -> None:
    storage.objects["/bucket/key"] = os.urandom(4_000_000)
    storage.cuts, storage.etag_after_cut = [1_500_000], '"two"'
    assert failure("s3://bucket/key").error_type is ErrorType.changed


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "NoSuchKey", ErrorType.not_found),
        (404, "NoSuchBucket", ErrorType.not_found),
        (403, "AccessDenied", ErrorType.forbidden),
        (403, "InvalidAccessKeyId", ErrorType.forbidden),
        (403, "SignatureDoesNotMatch", ErrorType.forbidden),
        (400, "ExpiredToken", ErrorType.forbidden),
        (403, "InvalidObjectState", ErrorType.forbidden),
        (500, "InternalError", ErrorType.unavailable),
        (503, "SlowDown", ErrorType.unavailable),
        (429, "TooManyRequests", ErrorType.unavailable),
    ],
)
def test_the_storage_refusals_are_told_apart(
    status: int, code: str, expected: ErrorType, storage: Storage
) -> None:
    storage.answers["/bucket/key"] = status, code
    for ranged in (False, True):
        result = failure("s3://bucket/key", seconds=0.5, ranged=ranged)
        assert result.error_type is expected
        if expected is ErrorType.unavailable:
            assert "0.5 s" in result.message
            assert code in result.message


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchKey"])
def test_a_refusal_is_final(code: str, storage: Storage) -> None:
    storage.answers["/bucket/key"] = 403 if code == "AccessDenied" else 404, code
    failure("s3://bucket/key")
    assert len(storage.ranges) == 1


@pytest.mark.slow
@pytest.mark.parametrize("ranged", [False, True])
def test_throttling_and_broken_connections_cost_a_wait_and_not_a_row(
    ranged: bool, storage: Storage
) -> None:
    storage.objects["/bucket/key"] = data = os.urandom(600_000)
    storage.first = [(503, "SlowDown"), (0, ""), (500, "InternalError"), (429, "TooManyRequests")]
    storage.cuts = [100_000, 0, 30_000]
    with open_source("s3://bucket/key", ranged=ranged) as source:
        assert source.read_at(0, len(data)) == data
        assert source.failure is None


@pytest.mark.slow
@pytest.mark.parametrize("ranged", [False, True])
def test_a_storage_that_hangs_is_asked_again(ranged: bool, storage: Storage) -> None:
    storage.objects["/bucket/key"] = b"abc"
    storage.hangs = 1
    with open_source("s3://bucket/key", seconds=12, ranged=ranged) as source:
        assert source.head() == b"abc"


@pytest.mark.slow
@pytest.mark.parametrize("ranged", [False, True])
def test_a_storage_that_comes_back_in_time_is_waited_for(
    ranged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name, value in Storage(address=f"http://127.0.0.1:{port}").settings().items():
        monkeypatch.setenv(name, value)
    done = threading.Event()

    def come_back() -> None:
        time.sleep(1.5)
        with scripted_storage.running(port) as late:
            late.objects["/bucket/key"] = b"abc"
            done.wait(300)

    thread = threading.Thread(target=come_back)
    thread.start()
    try:
        with open_source("s3://bucket/key", ranged=ranged) as source:
            assert source.head() == b"abc"
    finally:
        done.set()
        thread.join()


def test_a_storage_that_is_down_is_unavailable(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = failure("s3://bucket/key", seconds=0.7)
    assert result.error_type is ErrorType.unavailable
    assert "given up after 0.7 s" in result.message
    assert "connection failed" in result.message


@pytest.mark.parametrize("ranged", [False, True])
def test_an_object_that_is_not_the_one_that_was_listed_is_not_read(
    ranged: bool, storage: Storage
) -> None:
    storage.objects["/bucket/key"] = b"abc"
    with open_source("s3://bucket/key", etag='"one"', ranged=ranged) as source:
        assert source.etag == '"one"'
    with open_source("s3://bucket/key", etag="one", ranged=ranged) as source:
        assert source.head() == b"abc"
    assert storage.conditions == ['"one"'] * 2
    result = failure("s3://bucket/key", etag='"zero"', ranged=ranged)
    assert result.error_type is ErrorType.changed
    assert "since it was listed" in result.message


def test_the_etag_of_the_object_that_was_read_is_told(storage: Storage, tmp_path: Path) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=20)
    storage.objects["/bucket/a.mp4"] = path.read_bytes()
    with SandboxedDecoder(protocol("videomae-k400", size=56)) as sandbox:
        remote = sandbox.decode(Unit("unit", "video", "s3://bucket/a.mp4"))
        listed = sandbox.decode(Unit("unit", "video", "s3://bucket/a.mp4", etag='"zero"'))
        local = sandbox.decode(Unit("unit", "video", str(path), etag="ignored"))
    assert isinstance(remote, DecodedUnit)
    assert remote.etag == '"one"'
    assert isinstance(listed, UnitFailure)
    assert listed.error_type is ErrorType.changed
    assert isinstance(local, DecodedUnit)
    assert local.etag is None


def test_waiting_for_the_storage_is_not_counted_as_decoding(
    storage: Storage, tmp_path: Path
) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=20)
    storage.objects["/bucket/a.mp4"] = path.read_bytes()
    storage.first = [(503, "SlowDown")] * 4  # some 2 s of waiting
    limits = DecodeLimits(seconds=1.0, fetch_seconds=60)
    with SandboxedDecoder(protocol("videomae-k400", size=56), limits=limits) as sandbox:
        result = sandbox.decode(Unit("unit", "video", "s3://bucket/a.mp4"))
    assert isinstance(result, DecodedUnit), result


def test_missing_credentials_are_named(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    result = failure("s3://bucket/key")
    assert result.error_type is ErrorType.forbidden
    assert "credentials" in result.message


def test_empty_and_oversized_objects_are_not_fetched(storage: Storage) -> None:
    storage.objects |= {"/bucket/empty": b"", "/bucket/large": b"x" * 1000}
    for ranged in (False, True):
        assert failure("s3://bucket/empty", ranged=ranged).error_type is ErrorType.empty
    assert failure("s3://bucket/large", max_bytes=999).error_type is ErrorType.too_large


@pytest.mark.parametrize("uri", ["s3://", "s3://bucket", "s3://bucket/", "s3://B@d/key"])
def test_what_is_no_address_of_an_object_is_not_found(uri: str, storage: Storage) -> None:
    assert failure(uri).error_type is ErrorType.not_found


def test_other_schemes_are_refused_with_the_known_ones() -> None:
    result = failure("gopher://host/video.mp4")
    assert result.error_type is ErrorType.not_found
    assert "s3://" in result.message


def test_local_files_are_opened_where_they_lie(tmp_path: Path) -> None:
    path = tmp_path / "with space # and %.mp4"
    path.write_bytes(b"abc")
    assert content(str(path)) == b"abc"
    assert content(path.as_uri()) == b"abc"
    with open_source(str(path)) as source:
        assert isinstance(source.content, FileContent)
        assert source.size == 3


def test_what_is_no_file_is_told_apart(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    assert failure(str(tmp_path / "pipe")).error_type is ErrorType.not_video
    assert failure(str(tmp_path)).error_type is ErrorType.not_video
    assert failure(str(tmp_path / "empty")).error_type is ErrorType.empty
    assert failure(str(tmp_path / "missing")).error_type is ErrorType.not_found
    assert failure(str(tmp_path / "empty" / "below")).error_type is ErrorType.not_found
    assert failure("a\0b").error_type is ErrorType.not_found


def test_segments_of_one_recording_are_fetched_once(storage: Storage, tmp_path: Path) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=90)
    storage.objects["/bucket/a.mp4"] = storage.objects["/bucket/b.mp4"] = path.read_bytes()
    segments = [
        Unit(f"{name}{start}", name, f"s3://bucket/{name}.mp4", start, start + 1.0)
        for name in "ab"
        for start in (0.0, 1.0, 2.0)
    ]
    with SandboxedDecoder(protocol("videomae-k400", size=56)) as sandbox:
        results = [sandbox.decode(segment) for segment in segments]
    assert all(isinstance(result, DecodedUnit) for result in results)
    assert len(storage.ranges) == 2
    assert sum(result.bytes_read for result in results) == 2 * path.stat().st_size


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_an_object_is_decoded_like_a_file(decoder: str, storage: Storage, tmp_path: Path) -> None:
    if decoder == "decord":
        pytest.importorskip("decord")
    path = videos.write_video(tmp_path / "a.mp4", frames=20, options={"flags": "+cgop"})
    storage.objects["/bucket/a.mp4"] = path.read_bytes()
    with SandboxedDecoder(protocol("videomae-k400", size=56), decoder=decoder) as sandbox:
        remote = sandbox.decode(Unit("unit", "video", "s3://bucket/a.mp4"))
        local = sandbox.decode(Unit("unit", "video", str(path)))
        missing = sandbox.decode(Unit("unit", "video", "s3://bucket/none.mp4"))
    assert isinstance(remote, DecodedUnit)
    assert isinstance(local, DecodedUnit)
    assert (remote.frames == local.frames).all()
    assert remote.bytes_read == path.stat().st_size
    assert isinstance(missing, UnitFailure)
    assert missing.error_type is ErrorType.not_found


def test_a_name_that_is_no_text_is_opened_by_its_bytes(tmp_path: Path) -> None:
    path = videos.write_video(tmp_path / "plain.mp4", frames=20)
    odd = os.fsencode(tmp_path) + b"/caf\xe9 #1?.mp4"
    os.rename(path, odd)
    unit = Unit("unit", "video", "file://" + quote(odd))
    with SandboxedDecoder(protocol("videomae-k400", size=56)) as decoder:
        result = decoder.decode(unit)
    assert isinstance(result, DecodedUnit), result
