"""Google Cloud Storage and Azure Blob Storage on loopback, as much of them as obstore asks for.

Objects are read, by range and by ETag, written whole, unless they exist, or copied, listed and
deleted. Keys and signatures are not checked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_MODIFIED = "Sun, 01 Nov 2026 00:00:00 GMT"
_ISO = "2026-11-01T00:00:00.000Z"
_AZURE_ACCOUNT = "/devstoreaccount1"


@dataclass
class Clouds:
    """Both stores, which share their objects.

    Attributes:
        address: where they listen.
        objects: bodies by bucket/key.
    """

    address: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)

    def settings(self) -> dict[str, str]:
        """The environment in which gs:// and az:// lead here."""
        return {
            "STORAGE_EMULATOR_HOST": self.address,
            "AZURE_STORAGE_USE_EMULATOR": "true",
            "AZURITE_BLOB_STORAGE_URL": self.address,
        }


@contextmanager
def running() -> Iterator[Clouds]:
    """The stores, while the block runs."""
    clouds = Clouds()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(clouds)) as server:
        server.daemon_threads = True
        clouds.address = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield clouds
        finally:
            server.shutdown()
            thread.join()


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def _handler(clouds: Clouds) -> type[BaseHTTPRequestHandler]:
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def handle_request(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query, True).items()}
            azure = parts.path.startswith(_AZURE_ACCOUNT)
            name = unquote(parts.path.removeprefix(_AZURE_ACCOUNT)).lstrip("/")
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                if self.command == "GET" and ("list-type" in query or "comp" in query):
                    self.list(name, query, azure)
                elif self.command == "PUT":
                    self.put(name, sent)
                elif self.command == "POST":
                    self.delete_batch(sent)
                elif name not in clouds.objects:
                    self.refuse(404, "BlobNotFound" if azure else "NoSuchKey")
                elif self.command == "DELETE":
                    del clouds.objects[name]
                    self.answer(202 if azure else 204)
                else:
                    self.get(clouds.objects[name])

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_request  # noqa: N815

        def delete_batch(self, sent: bytes) -> None:
            """Azure's form of deleting: requests within a request."""
            rows = []
            asked = re.findall(rb"Content-ID: (\d+).*?DELETE (\S+) HTTP", sent, re.DOTALL | re.I)
            for number, path in asked:
                name = unquote(urlsplit(path.decode()).path.removeprefix(_AZURE_ACCOUNT))
                clouds.objects.pop(name.lstrip("/"), None)
                rows.append(
                    f"--b\r\nContent-Type: application/http\r\n"
                    f"Content-ID: {number.decode()}\r\n\r\n"
                    f"HTTP/1.1 202 Accepted\r\nx-ms-version: 2018-11-09\r\n\r\n\r\n"
                )
            body = "".join([*rows, "--b--\r\n"]).encode()
            self.answer(202, body, {"Content-Type": "multipart/mixed; boundary=b"})

        def get(self, body: bytes) -> None:
            if self.headers.get("If-Match", _etag(body)) != _etag(body):
                self.refuse(412, "ConditionNotMet")
                return
            asked = self.headers.get("Range") or self.headers.get("x-ms-range")
            headers, status = {"ETag": _etag(body), "Last-Modified": _MODIFIED}, 200
            if asked:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                if int(first) >= len(body):
                    self.refuse(416, "InvalidRange")
                    return
                size, body, status = len(body), body[int(first) : int(last or -2) + 1 or None], 206
                headers["Content-Range"] = f"bytes {first}-{int(first) + len(body) - 1}/{size}"
            self.answer(status, body, headers)

        def put(self, name: str, body: bytes) -> None:
            only_new = self.headers.get("x-goog-if-generation-match") == "0"
            if (only_new or self.headers.get("If-None-Match") == "*") and name in clouds.objects:
                self.refuse(412, "BlobAlreadyExists")
                return
            source = self.headers.get("x-goog-copy-source") or self.headers.get("x-ms-copy-source")
            if source:
                path = unquote(urlsplit(source).path.removeprefix(_AZURE_ACCOUNT)).lstrip("/")
                body = clouds.objects[path]
            clouds.objects[name] = body
            headers = {"ETag": _etag(body), "Last-Modified": _MODIFIED, "x-goog-generation": "1"}
            self.answer(202 if "x-ms-copy-source" in self.headers else 201, b"", headers)

        def list(self, bucket: str, query: dict[str, str], azure: bool) -> None:
            prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
            entries, folders = [], set()
            for name, body in sorted(clouds.objects.items()):
                container, _, key = name.partition("/")
                if container != bucket.rstrip("/") or not key.startswith(prefix):
                    continue
                if key <= query.get("start-after", ""):
                    continue
                below = key[len(prefix) :]
                if delimiter and delimiter in below:
                    folders.add(prefix + below.partition(delimiter)[0] + delimiter)
                else:
                    entries.append((escape(key), len(body), _etag(body)))
            self.answer(200, (_azure_list if azure else _gcs_list)(entries, sorted(folders)))

        def refuse(self, status: int, code: str) -> None:
            self.answer(status, f"<Error><Code>{code}</Code></Error>".encode())

        def answer(
            self, status: int, body: bytes = b"", headers: dict[str, str] | None = None
        ) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    return Handler


def _gcs_list(entries: list[tuple[str, int, str]], folders: list[str]) -> bytes:
    rows = "".join(
        f"<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>{_ISO}</LastModified>"
        f"<ETag>{escape(etag)}</ETag></Contents>"
        for key, size, etag in entries
    )
    rows += "".join(
        f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in folders
    )
    return f"<ListBucketResult>{rows}</ListBucketResult>".encode()


def _azure_list(entries: list[tuple[str, int, str]], folders: list[str]) -> bytes:
    rows = "".join(
        f"<Blob><Name>{key}</Name><Properties><Last-Modified>{_MODIFIED}</Last-Modified>"
        f"<Etag>{escape(etag)}</Etag><Content-Length>{size}</Content-Length>"
        f"<Content-Type>x</Content-Type></Properties></Blob>"
        for key, size, etag in entries
    )
    rows += "".join(f"<BlobPrefix><Name>{escape(each)}</Name></BlobPrefix>" for each in folders)
    return f"<EnumerationResults><Blobs>{rows}</Blobs><NextMarker/></EnumerationResults>".encode()
