"""Messages between a decoder's child process and its parent: a length, then JSON.

JSON and not pickle: a child whose memory a broken file corrupted must not run code in the parent.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import Any

_LENGTH = struct.Struct(">I")
_LONGEST = 64 << 20

Message = dict[str, Any]


class TimedOut(Exception):  # noqa: N818 - an event
    """The other side did not answer in time."""


def send(descriptor: int, message: Message) -> None:
    """Writes one message; raises OSError if the other side closed the pipe."""
    data = json.dumps(message).encode()
    view = memoryview(_LENGTH.pack(len(data)) + data)
    while view:
        view = view[os.write(descriptor, view) :]


def receive(descriptor: int, *, seconds: float | None = None) -> Message:
    """Reads one message; raises EOFError if the other side closed, TimedOut after ``seconds``."""
    deadline = None if seconds is None else time.monotonic() + seconds
    (length,) = _LENGTH.unpack(_read(descriptor, _LENGTH.size, deadline))
    if length > _LONGEST:
        raise EOFError("the child sent no valid message")
    message: Message = json.loads(_read(descriptor, length, deadline))
    return message


def _read(descriptor: int, count: int, deadline: float | None) -> bytes:
    data = b""
    while len(data) < count:
        if deadline is not None:
            _wait(descriptor, deadline)
        chunk = os.read(descriptor, count - len(data))
        if not chunk:
            raise EOFError("the other side closed the pipe")
        data += chunk
    return data


def _wait(descriptor: int, deadline: float) -> None:
    poll = select.poll()  # select.select refuses descriptors above 1023
    poll.register(descriptor, select.POLLIN)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimedOut
