"""A way to a server on which answers are refused, cut off or delayed as a test says."""

from __future__ import annotations

import http.client
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

DENIED = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"""
SLOW_DOWN = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"""


class Unreliable:
    """A relay in front of a server.

    Attributes:
        endpoint: its address.
        requests: (method, path with query) of all requests, those that it spoilt included.
        spoil: decides for each request: None to pass it on, "busy" for 503 SlowDown, "cut" to
            break the connection in the middle of the answer's body, "denied" for 403 AccessDenied.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.requests: list[tuple[str, str]] = []
        self.spoil: Callable[[str, str], str | None] = lambda method, path: None

    def spoil_first(self, times: int, how: str, *, holding: str = "") -> None:
        """Spoils the next requests whose method and path hold some text."""
        left = [times]

        def spoil(method: str, path: str) -> str | None:
            if left[0] and holding in f"{method} {path}":
                left[0] -= 1
                return how
            return None

        self.spoil = spoil


@contextmanager
def unreliable(server: str) -> Iterator[Unreliable]:
    """A relay in front of the server at an address."""
    target = urlsplit(server).netloc

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            relayed.requests.append((self.command, self.path))
            how = relayed.spoil(self.command, self.path)
            if how == "busy":
                self._answer(503, [("Content-Type", "application/xml")], SLOW_DOWN)
                return
            if how == "denied":
                self._answer(403, [("Content-Type", "application/xml")], DENIED)
                return
            connection = http.client.HTTPConnection(target, timeout=60)
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            self._answer(answer.status, answer.getheaders(), answer.read(), cut=how == "cut")
            connection.close()

        def _answer(
            self, status: int, headers: list[tuple[str, str]], body: bytes, *, cut: bool = False
        ) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            length = {name.lower(): value for name, value in headers}.get("content-length")
            size = length if self.command == "HEAD" and length else str(len(body))
            self.send_header("Content-Length", size)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if cut else body)
            if cut:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = relay  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    relay = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    relay.daemon_threads = True
    relayed = Unreliable(f"http://127.0.0.1:{relay.server_port}")
    thread = threading.Thread(target=relay.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield relayed
    finally:
        relay.shutdown()
        thread.join()
        relay.server_close()
