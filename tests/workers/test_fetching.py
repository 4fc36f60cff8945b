"""Objects are fetched once and whole, or there is a reason; nothing secret is ever said."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests import videos
from workers import fetching
from workers.decoding import DecodedUnit, SandboxedDecoder, Unit
from workers.failures import ErrorType, UnitFailure
from workers.fetching import open_source
from workers.sampling import protocol

SECRET = "not-to-be-printed-anywhere"


@dataclass
class Storage:
    """An object storage that can be told to misbehave."""

    address: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    etag: str = '"one"'
    etag_after_cut: str = '"one"'
    ranges: list[str | None] = field(default_factory=list)


def handler(storage: Storage) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            storage.ranges.append(self.headers.get("Range"))
            if path in storage.answers:
                self.refuse(*storage.answers[path])
            elif path not in storage.objects:
                self.refuse(404, "NoSuchKey")
            elif self.headers.get("If-Match", storage.etag) != storage.etag:
                self.refuse(412, "PreconditionFailed")
            else:
                self.give(storage.objects[path])

        def refuse(self, status: int, code: str) -> None:
            body = f"<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def give(self, data: bytes) -> None:
            asked = self.headers.get("Range")
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            rest = data[start:]
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.send_header("ETag", storage.etag)
            self.end_headers()
            if storage.cuts:
                rest = rest[: storage.cuts.pop(0)]
                storage.etag = storage.etag_after_cut
            self.wfile.write(rest)
            self.close_connection = True

    return Handler


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    state = Storage()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(state))
    Thread(target=server.serve_forever, daemon=True).start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", state.address)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    fetching.s3_client.cache_clear()
    yield state
    fetching.s3_client.cache_clear()
    server.shutdown()
    server.server_close()


def failure(uri: str, **options: Any) -> UnitFailure:
    with pytest.raises(UnitFailure) as caught, open_source(uri, **options):
        pass
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def content(uri: str) -> bytes:
    with open_source(uri) as source:
        return Path(source.path).read_bytes()


def test_an_object_arrives_whole(storage: Storage) -> None:
    storage.objects["/bucket/a/b.mp4"] = data = os.urandom(3_000_000)
    with open_source("s3://bucket/a/b.mp4") as source:
        assert Path(source.path).read_bytes() == data
        assert source.head(4) == data[:4]
        assert source.size == source.bytes_read == len(data)
    assert storage.ranges == [None]


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_nothing_is_left_in_the_temporary_folder(
    memory: int, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(fetching, "MEMORY_BYTES", memory)
    storage.objects["/bucket/key"] = b"abc" * 1000
    before = len(os.listdir("/proc/self/fd"))
    with open_source("s3://bucket/key") as source:
        assert list(tmp_path.iterdir()) == []
        assert Path(source.path).read_bytes() == b"abc" * 1000
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the client's connection


def test_a_broken_connection_is_taken_up_where_it_broke(storage: Storage) -> None:
    storage.objects["/bucket/key"] = data = os.urandom(4_000_000)
    storage.cuts = [1_500_000, 1_000_000]
    with open_source("s3://bucket/key") as source:
        assert Path(source.path).read_bytes() == data
        assert source.bytes_read == len(data)
    assert len(storage.ranges) == 3
    assert all(asked is not None for asked in storage.ranges[1:])


def test_a_connection_that_keeps_breaking_is_a_row_with_a_reason(storage: Storage) -> None:
    storage.objects["/bucket/key"] = os.urandom(9_000_000)
    storage.cuts = [1_200_000] * 20
    result = failure("s3://bucket/key")
    assert result.error_type is ErrorType.unavailable
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
    assert failure("s3://bucket/key").error_type is expected


def test_a_storage_that_is_down_is_unavailable(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert failure("s3://bucket/key").error_type is ErrorType.unavailable


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
    assert failure("s3://bucket/empty").error_type is ErrorType.empty
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
        assert source.path == str(path)
        assert source.size == source.bytes_read == 3


def test_what_is_no_file_is_told_apart(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    assert failure(str(tmp_path / "pipe")).error_type is ErrorType.not_video
    assert failure(str(tmp_path)).error_type is ErrorType.not_video
    assert failure(str(tmp_path / "empty")).error_type is ErrorType.empty
    assert failure(str(tmp_path / "missing")).error_type is ErrorType.not_found
    assert failure(str(tmp_path / "empty" / "below")).error_type is ErrorType.not_found
    assert failure("a\0b").error_type is ErrorType.not_found


def test_stretches_of_one_recording_are_fetched_once(storage: Storage, tmp_path: Path) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=90)
    storage.objects["/bucket/a.mp4"] = storage.objects["/bucket/b.mp4"] = path.read_bytes()
    stretches = [
        Unit(f"{name}{start}", name, f"s3://bucket/{name}.mp4", start, start + 1.0)
        for name in "ab"
        for start in (0.0, 1.0, 2.0)
    ]
    with SandboxedDecoder(protocol("videomae-k400", size=56)) as sandbox:
        results = [sandbox.decode(stretch) for stretch in stretches]
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
