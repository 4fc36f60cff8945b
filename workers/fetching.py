"""From a URI to something that a decoder can open.

Local paths and file:// URIs are opened where they lie. Objects of s3://bucket/key are read once
into an anonymous file (memory for small ones, an unlinked temporary file for large ones), so that
nothing stays behind whatever dies. The storage is configured by the usual AWS_* environment
variables. No message ever carries a credential, a signed address or a temporary path.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from workers.failures import ErrorType, UnitFailure

CHUNK_BYTES = 1 << 20
MEMORY_BYTES = 256 << 20
RESUMES = 4

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
_BUSY = {"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests"}


@dataclass(frozen=True)
class Source:
    """An opened file: ``path`` is for decoders, valid while the source is open.

    ``size`` is in bytes; ``bytes_read`` is what left the storage for it (a local file counts
    whole: the plan reads every packet of it).
    """

    path: str
    size: int
    bytes_read: int

    def head(self, count: int = 4096) -> bytes:
        """The first ``count`` bytes."""
        with open(self.path, "rb") as file:
            return file.read(count)


@contextmanager
def open_source(uri: str, *, max_bytes: int = 1 << 62) -> Iterator[Source]:
    """Open ``uri`` (a path, file:// or s3://) for decoding; raise UnitFailure with the reason."""
    scheme = uri.split("://", 1)[0].lower() if "://" in uri else ""
    if scheme == "s3":
        with _fetched(uri, max_bytes) as source:
            yield source
    elif scheme in ("", "file"):
        yield _local(_file_path(uri) if scheme else uri, max_bytes)
    else:
        raise UnitFailure(
            ErrorType.not_found,
            f"{scheme}:// addresses are not supported; use a path, file:// or s3://",
        )


def _file_path(uri: str) -> str:
    parts = urlsplit(uri.replace("?", "%3F").replace("#", "%23"))
    if parts.netloc not in ("", "localhost"):
        raise UnitFailure(ErrorType.not_found, "a file:// address names no host: file:///path")
    return unquote(parts.path)


def _local(path: str, max_bytes: int) -> Source:
    absolute = os.path.abspath(path)
    try:
        with open(os.open(absolute, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
    except ValueError as error:
        raise UnitFailure(ErrorType.not_found, f"not a path: {error}") from None
    except OSError as error:
        raise _local_failure(error) from None
    if stat.S_ISDIR(status.st_mode):
        raise UnitFailure(ErrorType.not_video, "a directory, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise UnitFailure(ErrorType.not_video, "a pipe, socket or device, not a file")
    _check_size(status.st_size, max_bytes)
    return Source(absolute, status.st_size, status.st_size)


def _local_failure(error: OSError) -> UnitFailure:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return UnitFailure(ErrorType.not_found, "no such file")
    if error.errno in (errno.EACCES, errno.EPERM):
        return UnitFailure(ErrorType.forbidden, "no permission to read the file")
    if error.errno == errno.EISDIR:
        return UnitFailure(ErrorType.not_video, "a directory, not a file")
    if error.errno == errno.ENXIO:
        return UnitFailure(ErrorType.not_video, "a pipe, socket or device, not a file")
    return UnitFailure(
        ErrorType.unavailable, f"the file could not be read: {error.strerror or 'unknown error'}"
    )


def _check_size(size: int, max_bytes: int) -> None:
    if size == 0:
        raise UnitFailure(ErrorType.empty, "the file has no bytes")
    if size > max_bytes:
        raise UnitFailure(
            ErrorType.too_large, f"{size:,} bytes are more than the limit of {max_bytes:,}"
        )


@contextmanager
def _fetched(uri: str, max_bytes: int) -> Iterator[Source]:
    bucket, _, key = uri[len("s3://") :].partition("/")
    if not bucket or not key:
        raise UnitFailure(ErrorType.not_found, "an object's address is s3://bucket/key")
    download = _Download(bucket, key, max_bytes)
    try:
        descriptor = download.run()
        directory = Path("/proc/self/fd") if os.path.isdir("/proc/self/fd") else Path("/dev/fd")
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield Source(str(directory / str(descriptor)), download.size, download.received)
    except UnitFailure as failure:
        failure.bytes_read = failure.bytes_read or download.received
        raise
    finally:
        download.close()


class _Download:
    """One object on its way into an anonymous file, resumed where the connection broke."""

    def __init__(self, bucket: str, key: str, max_bytes: int) -> None:
        self.bucket = bucket
        self.key = key
        self.max_bytes = max_bytes
        self.size = 0
        self.received = 0
        self._written = 0
        self._etag = ""
        self._descriptor = -1

    def run(self) -> int:
        """The descriptor of the filled file; raises UnitFailure."""
        for attempt in range(RESUMES + 1):
            try:
                self._read_on()
                return self._descriptor
            except UnitFailure:
                raise
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise UnitFailure(
                        ErrorType.internal, "no space left for fetching the object"
                    ) from None
                problem: Exception = error
            except Exception as error:
                problem = error
            failure = storage_failure(problem)
            if failure.error_type is not ErrorType.unavailable or not self._written:
                raise failure from None
            if attempt == RESUMES:
                raise failure from None
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read_on(self) -> None:
        request: dict[str, Any] = {"Bucket": self.bucket, "Key": self.key}
        if self._written:
            request |= {"Range": f"bytes={self._written}-", "IfMatch": self._etag}
        response = s3_client().get_object(**request)
        if self._written and response["ResponseMetadata"]["HTTPStatusCode"] != 206:
            raise ConnectionError("the storage sent the whole object instead of its rest")
        if not self._written:
            self._start(int(response["ContentLength"]), str(response.get("ETag", "")))
        with response["Body"] as body:
            while chunk := body.read(CHUNK_BYTES):
                self.received += len(chunk)
                self._written += _write_all(self._descriptor, chunk)
        if self._written != self.size:
            raise ConnectionError(f"{self._written} of {self.size} bytes arrived")

    def _start(self, size: int, etag: str) -> None:
        _check_size(size, self.max_bytes)
        self.size, self._etag = size, etag
        if self._descriptor < 0:
            self._descriptor = anonymous_file(in_memory=size <= MEMORY_BYTES)


def anonymous_file(*, in_memory: bool) -> int:
    """Descriptor of an empty file that no directory names: memory, or the temporary folder."""
    if in_memory and hasattr(os, "memfd_create"):
        return os.memfd_create("video", os.MFD_CLOEXEC)
    descriptor, path = tempfile.mkstemp()
    os.unlink(path)
    return descriptor


def _write_all(descriptor: int, chunk: bytes) -> int:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(chunk)


@lru_cache(maxsize=1)
def s3_client() -> Any:
    """The process's S3 client, imported late: workers with local files never pay for boto3."""
    import boto3
    from botocore.config import Config

    config = Config(
        retries={
            "mode": os.environ.get("AWS_RETRY_MODE", "standard"),
            "total_max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS", "5")),
        },
        connect_timeout=10,
        read_timeout=20,
        max_pool_connections=2,
    )
    return boto3.session.Session().client("s3", config=config)


def storage_failure(error: Exception) -> UnitFailure:
    """The failure row for an exception of boto3, of the network or of the file being written."""
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
    network = (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError, OSError)
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
