"""Videos of https:// addresses: ranges, redirects, broken connections, and the hosts asked."""

import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sta.transport import web
from sta.transport.retry import VIDEOS
from tests import scripted_storage
from tests.scripted_storage import SECRET, Storage
from workers.failures import ErrorType, UnitFailure
from workers.io.fetching import open_source

DATA = os.urandom(3_000_000)


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("STA_ALLOW_PRIVATE_HOSTS", raising=False)


def failure(uri: str, **options: Any) -> UnitFailure:
    with pytest.raises(UnitFailure) as caught, open_source(uri, **options):
        pass
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("serves_ranges", [True, False])
@pytest.mark.parametrize("ranged", [True, False])
def test_a_video_is_read_with_ranges_or_without(
    storage: Storage, serves_ranges: bool, ranged: bool
) -> None:
    storage.objects["/v.mp4"], storage.serves_ranges = DATA, serves_ranges
    with open_source(f"{storage.address}/v.mp4", ranged=ranged, private_hosts=True) as source:
        assert source.size == len(DATA)
        assert source.read_at(2_000_000, 1000) == DATA[2_000_000:2_001_000]
        assert source.read_at(0, len(DATA)) == DATA
        assert source.failure is None


@pytest.mark.parametrize("serves_ranges", [True, False])
def test_a_broken_download_goes_on_or_starts_over(storage: Storage, serves_ranges: bool) -> None:
    storage.objects["/v.mp4"], storage.serves_ranges = DATA, serves_ranges
    storage.cuts = [1_000_000, 500_000]
    with open_source(f"{storage.address}/v.mp4", private_hosts=True) as source:
        assert source.read_at(0, len(DATA)) == DATA


def test_a_video_that_is_replaced_while_it_is_read_is_not_mixed(storage: Storage) -> None:
    storage.objects["/v.mp4"] = DATA
    storage.cuts, storage.etag_after_cut = [1_000_000], '"two"'
    result = failure(f"{storage.address}/v.mp4", private_hosts=True)
    assert result.error_type is ErrorType.changed


@pytest.mark.parametrize(
    ("status", "expected"),
    [(404, ErrorType.not_found), (403, ErrorType.forbidden), (500, ErrorType.unavailable)],
)
def test_refusals_are_told_apart(storage: Storage, status: int, expected: ErrorType) -> None:
    storage.answers["/v.mp4"] = status, ""
    uri = f"{storage.address}/v.mp4?token={SECRET}"
    assert failure(uri, seconds=0.5, private_hosts=True).error_type is expected


def test_a_server_that_hangs_is_unavailable_in_time(storage: Storage) -> None:
    storage.objects["/v.mp4"], storage.hangs = DATA, 100
    begun = time.monotonic()
    result = failure(f"{storage.address}/v.mp4", seconds=2, private_hosts=True)
    assert result.error_type is ErrorType.unavailable
    assert time.monotonic() - begun < 10


PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
    "100.64.0.1", "[::1]", "[fe80::1]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "2130706433", "0x7f.1", "localhost",
]  # fmt: skip


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_host_is_not_asked_however_it_is_written(host: str) -> None:
    result = failure(f"https://{host}:9/v.mp4", seconds=5)
    assert result.error_type is ErrorType.forbidden
    assert "--allow-private-hosts" in result.message


def resolving(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], list[str]]) -> None:
    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in answer(host)]

    monkeypatch.setattr(web.socket, "getaddrinfo", resolve)


def test_a_name_of_which_one_address_is_private_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolving(monkeypatch, lambda host: ["93.184.216.34", "169.254.169.254"])
    assert failure("https://example.com/v.mp4").error_type is ErrorType.forbidden


def test_the_connection_goes_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that is private when it is resolved again gains nothing: it is not resolved again."""
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    resolving(monkeypatch, lambda host: next(answers))
    asked: list[Any] = []

    def connect(address: Any, *_: Any) -> None:
        asked.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(web.socket, "create_connection", connect)
    with pytest.raises(web.StoreError):
        web.open_web("https://example.com/v.mp4", policy=VIDEOS)
    assert asked == [("93.184.216.34", 443)]


@pytest.mark.parametrize("uri", ["http://example.com/v.mp4", "http://127.0.0.1:9/v.mp4"])
def test_what_is_not_encrypted_is_not_asked(uri: str) -> None:
    result = failure(uri)
    assert result.error_type is ErrorType.forbidden
    assert "not encrypted" in result.message


@pytest.fixture
def secure(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An https:// server on loopback, which shares the objects of `storage`."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out",
         str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    server = scripted_storage.ThreadingHTTPServer(
        ("127.0.0.1", 0), scripted_storage._handler(storage)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    web._context.cache_clear()
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        web._context.cache_clear()


def test_an_encrypted_server_is_asked_by_its_name(secure: str, storage: Storage) -> None:
    storage.objects["/a b/ü.mp4"] = storage.objects["/a%20b/%C3%BC.mp4"] = DATA
    with open_source(f"{secure}/a b/ü.mp4", private_hosts=True) as source:
        assert source.read_at(0, len(DATA)) == DATA
    assert failure(f"{secure}/a b/ü.mp4").error_type is ErrorType.forbidden


def test_a_certificate_of_nobody_is_refused(
    secure: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    web._context.cache_clear()
    storage.objects["/v.mp4"] = DATA
    result = failure(f"{secure}/v.mp4", seconds=2, private_hosts=True)
    assert "certificate" in result.message


def test_redirects_are_followed_and_checked(secure: str, storage: Storage) -> None:
    storage.objects["/v.mp4"] = DATA
    storage.redirects |= {
        "/here": "/v.mp4",
        "/far": f"{secure}/v.mp4?{SECRET}",
        "/plain": f"{storage.address}/v.mp4",
        "/round": "/round",
        "/file": "file:///etc/passwd",
    }
    for path in ("/here", "/far"):
        with open_source(f"{secure}{path}", private_hosts=True) as source:
            assert source.read_at(0, len(DATA)) == DATA
    for path, said in (("/plain", "not encrypted"), ("/file", "not https"), ("/round", "5 times")):
        result = failure(f"{secure}{path}", private_hosts=True)
        assert said in result.message
        assert result.error_type in (ErrorType.forbidden, ErrorType.not_found, ErrorType.internal)


def test_a_redirect_to_a_private_host_is_not_followed(
    secure: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first server counts as public here; that which it names does not."""
    monkeypatch.setattr(web, "is_public", lambda address: address == "127.0.0.1")
    storage.redirects["/v.mp4"] = "https://169.254.169.254/latest/meta-data"
    result = failure(f"{secure}/v.mp4")
    assert result.error_type is ErrorType.forbidden
    assert "redirects to a private" in result.message
