"""A response of a store, and the error that it may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sta.transport.retry import ErrorKind, classify


class StoreError(OSError):
    """An object could not be read, written or listed.

    The message is one line without a credential, and without an address but `place`.

    Attributes:
        reason: the message alone.
        place: address of the object, as the user named it; "" if it is not told.
        kind: what the error means.
        code: error code of the storage, or a short text for a network error; "" if there is none.
        status: HTTP status; 0 if no response came.
        server: host and port that were asked, where the request failed; "" if not known.
    """

    def __init__(
        self, message: str, kind: ErrorKind = "other", code: str = "", status: int = 0
    ) -> None:
        super().__init__(message)
        self.reason = message
        self.place = ""
        self.kind: ErrorKind = kind
        self.code = code
        self.status = status
        self.server = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.args[0]}" if self.place else str(self.args[0])


@dataclass
class ObjectResponse:
    """A response whose body has not been read.

    Attributes:
        start: byte offset of the body in the object.
        size: bytes of the whole object.
        etag: ETag, or another text that changes with the object; None if the server sends none.
        chunks: the bytes from `start` on; iterating raises StoreError.
        partial: whether the server serves ranges, as far as this response tells.
        close: ends the connection.
    """

    start: int
    size: int
    etag: str | None
    chunks: Iterator[bytes]
    partial: bool
    close: Callable[[], None]


def response_error(status: int, code: str = "", *, server: str = "object storage") -> StoreError:
    """The StoreError of an error response."""
    kind = classify(status, code)
    message = {
        "archived": "the object lies in a cold archive; restore it first",
        "changed": "the object was replaced while it was being read",
        "not_found": "no such object",
    }.get(kind, f"the {server} answered {status} {code}".rstrip())
    return StoreError(message, kind, code or str(status), status)
