"""Retries of requests to stores: the settings, the attempts, and which errors are transient.

All network access takes its settings here: `CHECKPOINTS` for downloads of weights, `VIDEOS` for the
objects that decoders read, `RUN_FILES` for the manifest and tables of a run. `classify` is the one
table of HTTP statuses and error codes of stores.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

ErrorKind = Literal["transient", "changed", "not_found", "forbidden", "archived", "other"]

# Timeouts of a single request are shortened so that this many attempts fit into the total time.
_MIN_ATTEMPTS = 6
_MIN_TIMEOUT_S = 0.5


@dataclass(frozen=True)
class RetryPolicy:
    """How often and for how long a failed request is repeated.

    Attributes:
        seconds: total time, waits included.
        max_failures: failed attempts in a row, without a new byte, before giving up; None: no
            limit but `seconds`.
        first_wait_s: wait after the first failure; doubled after each further one.
        max_wait_s: longest wait.
        jitter: share of each wait that is random, 0 to 1.
        connect_timeout_s: limit of connecting.
        read_timeout_s: limit of each wait for bytes.
    """

    seconds: float = math.inf
    max_failures: int | None = None
    first_wait_s: float = 1.0
    max_wait_s: float = 30.0
    jitter: float = 0.0
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"seconds must be above 0; got {self.seconds}")
        if self.max_failures is not None and self.max_failures < 1:
            raise ValueError(f"max_failures must be 1 or more, or None; got {self.max_failures}")
        if self.first_wait_s < 0:
            raise ValueError(f"first_wait_s must be 0 or more; got {self.first_wait_s}")

    def wait_s(self, failures: int) -> float:
        """Wait after this many failures in a row."""
        wait = min(self.first_wait_s * 2.0 ** min(failures - 1, 16), self.max_wait_s)
        return wait * random.uniform(1 - self.jitter, 1)

    def timeouts(self) -> tuple[float, float]:
        """(connect, read) timeouts in seconds that leave time for several attempts."""
        share = max(self.seconds / _MIN_ATTEMPTS, _MIN_TIMEOUT_S)
        return min(self.connect_timeout_s, share), min(self.read_timeout_s, share)


CHECKPOINTS = RetryPolicy(seconds=3600.0, max_failures=5)
VIDEOS = RetryPolicy(
    seconds=120.0, first_wait_s=0.2, max_wait_s=10.0, jitter=0.5, read_timeout_s=20.0
)
# Arrow and boto3 wait by themselves, up to 20 s: 12 attempts outlast a minute of refused
# connections and several minutes of throttling.
RUN_FILES = RetryPolicy(max_failures=12)


class Retries:
    """The attempts at one object: counts time and failures, and waits between attempts.

    Only time within `running` counts, since a video that is read by ranges is decoded between its
    reads.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy
        self._spent = 0.0
        self._since: float | None = None
        self._failures = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts the time of this block."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._spent += time.monotonic() - self._since
            self._since = None

    @property
    def remaining_s(self) -> float:
        """Seconds left; 0 or less when time is up."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        return self.policy.seconds - self._spent - running

    def reset(self) -> None:
        """Start over, for another unit of the same object."""
        self._spent, self._failures = 0.0, 0

    def progressed(self) -> None:
        """New bytes arrived, so earlier failures no longer count."""
        self._failures = 0

    def wait(self) -> bool:
        """Count a failure and wait for the next attempt; False if no attempt is left."""
        self._failures += 1
        remaining = self.remaining_s
        limit = self.policy.max_failures
        if remaining <= 0 or (limit is not None and self._failures >= limit):
            return False
        time.sleep(min(self.policy.wait_s(self._failures), remaining))
        return True


TRANSIENT_STATUSES = r"408|425|429|5\d\d"

_KIND_BY_CODE: dict[str, ErrorKind] = {
    **dict.fromkeys(("InvalidObjectState", "BlobArchived"), "archived"),
    **dict.fromkeys(("PreconditionFailed", "InvalidRange"), "changed"),
    **dict.fromkeys(("NoSuchKey", "NoSuchBucket", "NotFound", "NoSuchVersion"), "not_found"),
    **dict.fromkeys(
        (
            "AccessDenied",
            "AllAccessDisabled",
            "AuthFailure",
            "ExpiredToken",
            "InvalidAccessKeyId",
            "InvalidToken",
            "SignatureDoesNotMatch",
            "TokenRefreshRequired",
        ),
        "forbidden",
    ),
    **dict.fromkeys(
        (
            "BandwidthLimitExceeded",
            "PriorRequestNotComplete",
            "RequestLimitExceeded",
            "RequestTimeout",
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "TooManyRequests",
        ),
        "transient",
    ),
}
_KIND_BY_STATUS: dict[int, ErrorKind] = {
    **dict.fromkeys((401, 403), "forbidden"),
    **dict.fromkeys((404, 410), "not_found"),
    **dict.fromkeys((412, 416), "changed"),
    **dict.fromkeys((408, 425, 429), "transient"),
}


def classify(status: int, code: str = "") -> ErrorKind:
    """The kind of an error response.

    Args:
        status: HTTP status, 0 if unknown.
        code: S3 error code, or a status as text, as HEAD requests give it; "" if there is none.
    """
    if code.isdecimal():
        status, code = int(code), ""
    if code in _KIND_BY_CODE:
        return _KIND_BY_CODE[code]
    return "transient" if status >= 500 else _KIND_BY_STATUS.get(status, "other")
