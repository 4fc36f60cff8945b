"""An object storage on loopback that misbehaves as it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

SECRET = "not-to-be-printed-anywhere"


@dataclass
class Storage:
    """What the storage holds, how it answers, and what it was asked.

    ``answers``: a refusal for every request of a path. ``first``: refusals (status, code) that the
    next requests get, whatever they ask; a status of 0 closes the connection without an answer.
    ``cuts``: after how many bytes the next answers break off. ``hangs``: how many of the next
    requests get no answer. ``redirects``: from path to address. ``ranges`` and ``sent``: what
    was asked and how many bytes were given.
    """

    address: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    first: list[tuple[int, str]] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    hangs: int = 0
    etag: str = '"one"'
    etag_after_cut: str = '"one"'
    serves_ranges: bool = True
    ranges: list[str | None] = field(default_factory=list)
    conditions: list[str | None] = field(default_factory=list)
    sent: int = 0
    released: Event = field(default_factory=Event)

    def settings(self) -> dict[str, str]:
        """The environment in which a client finds this storage."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }


@contextmanager
def running(port: int = 0) -> Iterator[Storage]:
    """A storage that serves while the block runs."""
    state = Storage()
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(state))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()


def _handler(storage: Storage) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            storage.ranges.append(self.headers.get("Range"))
            storage.conditions.append(self.headers.get("If-Match"))
            if storage.hangs:
                storage.hangs -= 1
                storage.released.wait(60)
                self.close_connection = True
            elif path in storage.redirects:
                self.send_response(302)
                self.send_header("Location", storage.redirects[path])
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif storage.first:
                self.refuse(*storage.first.pop(0))
            elif path in storage.answers:
                self.refuse(*storage.answers[path])
            elif path not in storage.objects:
                self.refuse(404, "NoSuchKey")
            elif self.headers.get("If-Match", storage.etag) != storage.etag:
                self.refuse(412, "PreconditionFailed")
            else:
                self.give(storage.objects[path])

        def refuse(self, status: int, code: str) -> None:
            self.close_connection = True
            if not status:
                return
            body = f"<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def give(self, data: bytes) -> None:
            asked = self.headers.get("Range") if storage.serves_ranges else None
            start, _, last = (asked or "bytes=0-").removeprefix("bytes=").partition("-")
            if asked and int(start) >= len(data):
                self.refuse(416, "InvalidRange")
                return
            rest = data[int(start) : int(last) + 1 if last else None]
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(rest)))
            if asked:
                end = int(start) + len(rest) - 1
                self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
            self.send_header("ETag", storage.etag)
            self.end_headers()
            if storage.cuts:
                rest = rest[: storage.cuts.pop(0)]
                storage.etag = storage.etag_after_cut
            storage.sent += len(rest)
            self.wfile.write(rest)
            self.close_connection = True

    return Handler
