"""Checks within seconds whether a server can be reached.

Name resolution alone can take half a minute where the network drops packets, and clients retry. An
address on the command line is checked before any work starts, while the user waits.
"""

from __future__ import annotations

import contextlib
import socket
import urllib.request
from collections.abc import Callable
from threading import Thread
from time import monotonic, sleep
from urllib.parse import urlsplit

# Time after which a server counts as unreachable.
SECONDS = 5.0
PAUSE = 1.0
_ATTEMPTS = 2


def reason(error: BaseException) -> str:
    """The reason of a network error, without the address that its text may contain."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, TimeoutError):
            return "the server did not answer in time"
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        nested = next((each for each in seen.args if isinstance(each, BaseException)), None)
        seen = seen.__cause__ or seen.__context__ or nested
    return type(error).__name__


def unanswered(ask: Callable[[], object]) -> str:
    """The reason why a server cannot be reached; "" if it can.

    Args:
        ask: connects to the server; any exception means failure.
    """
    deadline = monotonic() + SECONDS
    said = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            sleep(max(0.0, min(PAUSE, deadline - monotonic())))
        answers: list[str] = []
        # A thread, since a name resolution cannot be cancelled; it ends by itself later.
        thread = Thread(target=lambda into=answers: into.append(_tried(ask)), daemon=True)
        thread.start()
        thread.join(max(0.0, deadline - monotonic()))
        if not answers:
            return said or f"no answer within {SECONDS:.0f} s"
        if not answers[0]:
            return ""
        said = answers[0]
    return said


def _tried(ask: Callable[[], object]) -> str:
    try:
        ask()
    except Exception as error:  # whatever a client raises
        return reason(error)
    return ""


def unreachable(address: str) -> str:
    """The reason why the host of an address, or its proxy, cannot be reached; "" if it can."""
    return unanswered(lambda: _connect(address))


def _connect(address: str) -> None:
    parts = urlsplit(address)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and parts.hostname and not urllib.request.proxy_bypass(parts.hostname):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with contextlib.closing(socket.create_connection((parts.hostname, port), timeout=SECONDS)):
        pass
