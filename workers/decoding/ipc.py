"""Messages between a decoder's child process and its parent: lengths, JSON, bytes, descriptors.

They travel over a pair of connected sockets. JSON and not pickle: a child that a file has taken
over must not run code in the parent.
"""

from __future__ import annotations

import json
import math
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

_LENGTHS = struct.Struct(">II")  # of the JSON, and of the bytes that follow it
LONGEST_JSON = 16 << 20
LONGEST_BYTES = 1 << 20
_MOST_DESCRIPTORS = 1

Message = dict[str, Any]


class TimedOut(Exception):  # noqa: N818 - an event
    """The other side did not answer in time."""


class BadMessage(Exception):  # noqa: N818 - what came is no message
    """The other side sent what is no message."""


class Channel:
    """One end of a pair of connected sockets, used by one thread.

    ``send`` and ``receive`` raise TimedOut after ``seconds``, which bounds the whole message, and
    OSError or EOFError where the other side has closed. ``receive`` raises BadMessage for what is
    no JSON object, for numbers that are not finite, and for more than LONGEST_JSON bytes.
    """

    def __init__(self, end: socket.socket, *, from_parent: bool = False) -> None:
        self._end = end
        self._end.setblocking(False)
        self._room = _MOST_DESCRIPTORS if from_parent else 0
        self._longest_bytes = LONGEST_BYTES if from_parent else 0

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """The parent's channel, which takes JSON alone, and the socket for the child."""
        here, there = socket.socketpair()
        return cls(here), there

    @classmethod
    def inherited(cls, descriptor: int) -> Channel:
        """The child's channel, which takes bytes and descriptors too."""
        return cls(socket.socket(fileno=descriptor), from_parent=True)

    def send(
        self,
        message: Message,
        data: bytes = b"",
        *,
        descriptors: Sequence[int] = (),
        seconds: float | None = None,
    ) -> None:
        """Sends a message, with bytes and descriptors that go with it."""
        deadline = _deadline(seconds)
        text = json.dumps(message).encode()
        view = memoryview(_LENGTHS.pack(len(text), len(data)) + text + data)
        while view:
            self._wait(select.POLLOUT, deadline)
            try:
                sent = socket.send_fds(self._end, [view], list(descriptors))
            except BlockingIOError:
                continue
            view, descriptors = view[sent:], ()

    def receive(self, *, seconds: float | None = None) -> Message:
        """The next message; bytes sent with it stand under "data", a descriptor under "file"."""
        deadline = _deadline(seconds)
        head, descriptors = self._read(_LENGTHS.size, deadline)
        json_length, data_length = _LENGTHS.unpack(head)
        if json_length > LONGEST_JSON or data_length > self._longest_bytes:
            raise BadMessage("the message is too long")
        text, _ = self._read(json_length, deadline)
        data, _ = self._read(data_length, deadline)
        try:
            message = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        except (ValueError, RecursionError):
            raise BadMessage("the message is no JSON") from None
        if not isinstance(message, dict):
            raise BadMessage("the message is no JSON object")
        if data_length:
            message["data"] = data
        if descriptors:
            message["file"] = descriptors[0]
        return message

    def close(self) -> None:
        """Closes this end; may be called again."""
        self._end.close()

    def _read(self, count: int, deadline: float | None) -> tuple[bytes, list[int]]:
        data, descriptors = bytearray(), []
        while len(data) < count:
            self._wait(select.POLLIN, deadline)
            try:
                # The system closes descriptors for which there is no room.
                piece, came, _, _ = socket.recv_fds(self._end, count - len(data), self._room)
            except BlockingIOError:
                continue
            descriptors += came
            if not piece:
                raise EOFError("the other side closed the channel")
            data += piece
        return bytes(data), descriptors

    def _wait(self, event: int, deadline: float | None) -> None:
        poll = select.poll()  # select.select refuses descriptors above 1023
        poll.register(self._end, event)
        left_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poll.poll(left_ms):
            raise TimedOut


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value
