"""What an error of a store means, in one line without credentials."""

from __future__ import annotations

from sta.transport.aws import NO_CREDENTIALS
from sta.transport.obstore_errors import store_error
from sta.transport.responses import StoreError
from sta.transport.retry import TRANSIENT_STATUSES

_SAID = {
    "NoSuchBucket": "there is no such bucket",
    "ContainerNotFound": "there is no such container",
    "AccessDenied": "access denied; the credentials in use do not permit this",
    "InvalidAccessKeyId": "the storage does not know the access key",
    "SignatureDoesNotMatch": "the secret key does not match the access key",
    "ExpiredToken": "the credentials have expired",
    "InvalidToken": "the session token is not valid",
    "NoCredentials": NO_CREDENTIALS,
    "SlowDown": "the storage still throttles requests after all attempts",
    "403": "access denied; the credentials in use do not permit this",
}
# Regular expressions of messages for transient errors, to add to Ray Data's
# `DataContext.retried_io_errors`.
TRANSIENT_ERRORS = (
    rf"the object storage answered ({TRANSIENT_STATUSES})\b",
    r"the object storage answered 400 RequestTimeout",
    r"the object storage did not answer completely",
)


def storage_reason(error: BaseException) -> str:
    """The reason of a storage error.

    Args:
        error: exception of a store, Arrow or the operating system.
    """
    if isinstance(error, StoreError):
        if error.code == "connection failed":
            place = f" at {error.server}" if error.server else ""
            return f"the storage{place} cannot be reached"
        return _SAID.get(error.code, error.reason)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def named_error(error: Exception, uri: str) -> Exception:
    """An error of a store with the address; FileNotFoundError where there is no such object."""
    found = store_error(error)
    if found.kind == "not_found" and found.code not in ("NoSuchBucket", "ContainerNotFound"):
        return FileNotFoundError(uri)
    found.place = uri
    return found
