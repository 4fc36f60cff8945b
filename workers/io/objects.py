"""Objects of s3://bucket/key: the client, how long to be patient, and what a refusal means.

The storage is configured by the usual AWS_* environment variables. No message ever carries a
credential, a signed address or a temporary path.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from workers.failures import ErrorType, UnitFailure

CHUNK_BYTES = 1 << 20

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 10.0
_CONNECT_S = 10.0
_READ_S = 20.0
_SHORTEST_S = 0.5
_TRIES = 6  # a storage that hangs is asked at least so many times within the limit

_MISSING = {"404", "NoSuchKey", "NoSuchBucket", "NotFound", "NoSuchVersion"}
_REFUSED = {
    "401",
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "AuthFailure",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_BUSY = {
    "BandwidthLimitExceeded",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}


class Patience:
    """Total time that fetching may take, waits between attempts included.

    Only time within ``spending`` counts: between the reads of a ranged file there is decoding.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._spent = 0.0
        self._since: float | None = None
        self._failures = 0

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Time in this block counts."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._spent += time.monotonic() - self._since
            self._since = None

    def renew(self) -> None:
        """Begin anew, for another unit."""
        self._spent, self._failures = 0.0, 0

    def arrived(self, done: int, size: int) -> None:
        """Bytes came, ``done`` of ``size`` by now; raises UnitFailure when the time is over."""
        self._failures = 0
        if done < size and self._left() <= 0:
            raise UnitFailure(
                ErrorType.unavailable,
                f"only {done:,} of {size:,} bytes came from the object storage within "
                f"{self.seconds:g} s",
            )

    def failed(self, problem: Exception) -> None:
        """Wait before the next attempt; raises UnitFailure where there is none to make."""
        if isinstance(problem, UnitFailure):
            raise problem
        failure = storage_failure(problem)
        if failure.error_type is not ErrorType.unavailable:
            raise failure from None
        left = self._left()
        if left <= 0:
            raise UnitFailure(
                ErrorType.unavailable,
                f"fetching was given up after {self.seconds:g} s: {failure.message}",
            ) from None
        wait = min(_FIRST_WAIT_S * 2**self._failures, _LONGEST_WAIT_S) * random.uniform(0.5, 1)
        self._failures = min(self._failures + 1, 16)
        time.sleep(min(wait, left))

    def _left(self) -> float:
        running = 0.0 if self._since is None else time.monotonic() - self._since
        return self.seconds - self._spent - running


def object_address(uri: str) -> tuple[str, str]:
    """(bucket, key) of s3://bucket/key; raises UnitFailure for another address."""
    bucket, _, key = uri[len("s3://") :].partition("/")
    if not bucket or not key:
        raise UnitFailure(ErrorType.not_found, "an object's address is s3://bucket/key")
    return bucket, key


def condition(etag: str | None) -> dict[str, str]:
    """The part of a request that makes it hold for the object with this ETag alone."""
    if not etag:
        return {}
    return {"IfMatch": etag if etag.startswith(('"', "W/")) else f'"{etag}"'}


def client_for(seconds: float) -> Any:
    """A client whose time-outs leave room for several attempts within ``seconds``."""
    share = max(seconds / _TRIES, _SHORTEST_S)
    return s3_client(min(_CONNECT_S, share), min(_READ_S, share))


@lru_cache(maxsize=2)
def s3_client(connect_s: float, read_s: float) -> Any:
    """The process's S3 client, imported late: workers with local files never pay for boto3.

    It makes one attempt: `Patience` counts the time of all.
    """
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=connect_s,
        read_timeout=read_s,
        max_pool_connections=2,
    )
    return boto3.session.Session().client("s3", config=config)


def storage_failure(error: Exception) -> UnitFailure:
    """The failure row for an exception of boto3 or of the network."""
    from botocore import exceptions as boto

    if isinstance(error, boto.ClientError):
        return _client_failure(error)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return UnitFailure(ErrorType.forbidden, "no credentials for the object storage were found")
    if isinstance(error, boto.ParamValidationError):
        return UnitFailure(ErrorType.not_found, "not a valid bucket or key name")
    if isinstance(error, boto.NoRegionError | boto.ProfileNotFound):
        return UnitFailure(
            ErrorType.internal, "the object storage is not configured: check the AWS_* variables"
        )
    if isinstance(error, boto.CredentialRetrievalError | boto.MetadataRetrievalError):
        return UnitFailure(ErrorType.forbidden, "credentials for the object storage did not come")
    network = (
        boto.ConnectionError,
        boto.HTTPClientError,
        boto.IncompleteReadError,
        boto.ResponseStreamingError,
        OSError,
    )
    if isinstance(error, network):
        return UnitFailure(
            ErrorType.unavailable,
            f"the object storage did not answer completely ({type(error).__name__})",
        )
    return UnitFailure(ErrorType.internal, f"fetching failed with {type(error).__name__}")


def _client_failure(error: Any) -> UnitFailure:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    answer = f"the object storage answered {code or status}"
    if code == "InvalidObjectState":
        return UnitFailure(
            ErrorType.forbidden, "the object lies in a cold archive; restore it first"
        )
    if code in ("PreconditionFailed", "412", "InvalidRange") or status in (412, 416):
        return UnitFailure(ErrorType.changed, "the object was replaced while it was being read")
    if code in _MISSING or status == 404:
        return UnitFailure(ErrorType.not_found, "no such object")
    if code in _REFUSED or status in (401, 403):
        return UnitFailure(ErrorType.forbidden, answer)
    if code in _BUSY or status >= 500 or status == 429:
        return UnitFailure(ErrorType.unavailable, answer)
    return UnitFailure(ErrorType.internal, answer)


def changed_since_listed(failure: UnitFailure) -> UnitFailure:
    """The same failure, in the words for an object of which nothing was read yet."""
    if failure.error_type is not ErrorType.changed:
        return failure
    return UnitFailure(
        ErrorType.changed, "the object changed since it was listed; list the archive again"
    )
