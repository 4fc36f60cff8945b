"""A web server on loopback that can be told to misbehave."""

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Server:
    """What the server holds, how it is to misbehave, and what it was asked.

    Attributes:
        address: where it listens.
        objects: bodies by path.
        etags: by path, where not that of the body; "" for none.
        modified: the modification time it names.
        statuses: what it answers to the next requests, instead of the objects.
        cuts: after how many bytes it breaks off the next bodies.
        announced: bytes that it announces and does not send.
        ranges: whether it knows ranges.
        after_cut: what a body is replaced by once it was cut.
        redirects: from path to address.
        asked: the Range of every request.
        whole: how many bodies it sent to their end.
    """

    address: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    modified: str | None = None
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    announced: int = 0
    ranges: bool = True
    after_cut: bytes | None = None
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)
    whole: int = 0

    def etag(self, path: str) -> str:
        return self.etags.get(path, f'"{hashlib.md5(self.objects[path]).hexdigest()}"')


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            path = self.path.partition("?")[0]
            server.asked.append(self.headers.get("Range"))
            if path in server.redirects:
                self.answer(302, {"Location": server.redirects[path], "Content-Length": "0"})
            elif server.statuses:
                self.answer(server.statuses.pop(0), {"Content-Length": "0"})
            elif path not in server.objects:
                self.answer(404, {"Content-Length": "0", "X-Error-Code": "EntryNotFound"})
            else:
                self.give(path)

        def give(self, path):
            body, etag = server.objects[path], server.etag(path)
            asked = self.headers.get("Range", "")
            start = int(asked.removeprefix("bytes=").rstrip("-") or 0)
            partly = bool(start and server.ranges and self.headers.get("If-Range") == etag)
            start = start if partly else 0
            headers = {"Content-Length": str(len(body) - start + server.announced)}
            headers |= {"ETag": etag} if etag else {}
            headers |= {"Last-Modified": server.modified} if server.modified else {}
            headers |= {"X-Repo-Commit": "0" * 40}
            if partly:
                headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self.answer(206 if partly else 200, headers)
            if self.command == "HEAD":
                return
            cut = server.cuts.pop(0) if server.cuts else len(body)
            try:
                self.wfile.write(body[start : start + cut])
                server.whole += start + cut >= len(body)
            except ConnectionError:
                pass
            if cut < len(body) and server.after_cut is not None:
                server.objects[path] = server.after_cut

        def answer(self, status, headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

    return Handler


@contextmanager
def serving():
    server = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(server)) as http:
        server.address = f"http://127.0.0.1:{http.server_address[1]}"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
