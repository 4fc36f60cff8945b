"""Objects at https:// and s3:// addresses, opened at a byte offset.

No message contains a credential: of an address only scheme, host and path are shown, of a response
only its status.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

from sta.checkpoints.reach import reason
from sta.errors import CheckpointError
from sta.retry import CHECKPOINTS, classify, is_network_error
from sta.text import holds_secret, redacted


class TransientError(Exception):
    """The network or the server failed in a way that may pass; worth another attempt."""


class ChangedError(Exception):
    """The object was replaced since its first bytes were read."""


class Body(Protocol):
    """The body of a response."""

    def read(self, amount: int) -> bytes:
        """Up to `amount` bytes; b"" at the end."""

    def close(self) -> None:
        """Ends the connection."""


@dataclass(frozen=True)
class ObjectResponse:
    """A response whose body has not been read.

    Attributes:
        start: byte offset of the body in the object.
        size: of the whole object, bytes.
        version: ETag or modification time; "" if the server sends neither.
        body: the bytes from `start` on.
    """

    start: int
    size: int
    version: str
    body: Body


@dataclass(frozen=True)
class Remote:
    """An object at an address.

    Attributes:
        shown: the address without credentials, for messages.
        identity: digest that identifies the object in the cache.
        open: opens the object at a byte offset of a version; the server may send another offset or
            version.
        server: returns the address of the server; "" if it is not known.
    """

    shown: str
    identity: str
    open: Callable[[int, str], ObjectResponse]
    server: Callable[[], str]


def remote(address: str) -> Remote:
    """The object at an https:// or s3:// address (http:// of this machine alone).

    Raises:
        CheckpointError: the address is not supported; the message names the forms that are.
    """
    if address.startswith("s3://"):
        bucket, _, key = address.removeprefix("s3://").partition("/")
        if not bucket or not key or key.endswith("/"):
            raise CheckpointError(f"{address} names no object: write s3://bucket/key")
        found = _S3Object(address, bucket, key)
        return Remote(address, _digest(address), found, found.server)
    shown = without_secrets(address)
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        raise CheckpointError(f"{shown} is no valid address") from None
    if parts.username or parts.password:
        raise CheckpointError(f"{shown} was given with a user or password; use a presigned address")
    if not _allowed(address):
        raise CheckpointError(f"{shown} is not encrypted; use https:// (http:// only of localhost)")
    # A signed query differs each time for the same object and is left out; any other query is part
    # of the identity.
    identity = shown if holds_secret(address) else f"{shown}?{parts.query}"
    server = f"{parts.scheme}://{parts.netloc}"
    return Remote(shown, _digest(identity), _HTTPObject(address, shown), lambda: server)


def without_secrets(address: str) -> str:
    """A source as it may be shown and stored: without user, query and fragment of a web address."""
    scheme, mark, rest = address.partition("://")
    if not mark or scheme.lower() == "s3":
        return redacted(address)
    for mark in "?#":
        rest = rest.partition(mark)[0]
    host, slash, path = rest.partition("/")
    return redacted(f"{scheme.lower()}://{host.rpartition('@')[2]}{slash}{path}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _allowed(address: str) -> bool:
    parts = urlsplit(address)
    if parts.scheme == "https" and parts.hostname:
        return True
    if parts.scheme != "http":
        return False
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https:// to http://."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        leaves = req.full_url.lower().startswith("https:") and not newurl.startswith("https:")
        if leaves or not _allowed(newurl):
            raise CheckpointError(
                f"{without_secrets(req.full_url)} redirects to an address that is not encrypted"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@dataclass(frozen=True)
class _HTTPObject:
    address: str
    shown: str

    def __call__(self, start: int, version: str) -> ObjectResponse:
        headers = {"User-Agent": "sta", "Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": version}
        request = urllib.request.Request(self.address, headers=headers)
        opener = urllib.request.build_opener(_SafeRedirects)
        try:
            answer = opener.open(request, timeout=CHECKPOINTS.read_timeout_s)
        except urllib.error.HTTPError as error:
            error.close()
            raise _status_error(self.shown, error.code) from None
        except urllib.error.URLError as error:
            raise TransientError(reason(error)) from None
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(reason(error)) from None
        try:
            begin, size = _extent(answer.headers, answer.status)
        except ValueError:
            answer.close()
            raise CheckpointError(f"the server of {self.shown} does not say its length") from None
        return ObjectResponse(begin, size, _version(answer.headers), _HTTPBody(answer))


@dataclass(frozen=True)
class _HTTPBody:
    answer: http.client.HTTPResponse

    def read(self, amount: int) -> bytes:
        # read1 returns what has arrived; read would wait for the whole amount.
        try:
            return self.answer.read1(amount)
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(reason(error)) from None

    def close(self) -> None:
        self.answer.close()


def _extent(headers: Message, status: int) -> tuple[int, int]:
    """(first byte, size of the whole object) of a response; ValueError if it has no size."""
    if status == 206:
        unit, _, span = headers.get("Content-Range", "").partition(" ")
        extent, _, size = span.partition("/")
        if unit != "bytes":
            raise ValueError("not a range of bytes")
        return int(extent.partition("-")[0]), int(size)
    return 0, int(headers.get("Content-Length", ""))


def _version(headers: Message) -> str:
    # A weak ETag does not guarantee the same bytes, so a download cannot be resumed with it.
    etag = headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")


def _status_error(shown: str, status: int, code: str = "") -> Exception:
    kind = classify(status, code)
    if kind == "transient":
        return TransientError(f"the server answered {status}")
    if kind == "changed":
        return ChangedError()
    meaning = {401: "access refused", 403: "access refused", 404: "no such object", 410: "gone"}
    named = code if re.fullmatch(r"[A-Za-z]{3,40}", code) else str(status)
    said = f"{meaning[status]} ({named})" if status in meaning else f"the server answered {named}"
    return CheckpointError(f"cannot download {shown}: {said}")


@dataclass(frozen=True)
class _S3Object:
    address: str
    bucket: str
    key: str

    def server(self) -> str:
        try:
            import boto3

            return str(boto3.session.Session().client("s3").meta.endpoint_url)
        except Exception:  # opening the object reports what is missing
            return ""

    def __call__(self, start: int, version: str) -> ObjectResponse:
        try:
            import boto3
            from botocore import exceptions
            from botocore.config import Config
        except ImportError:
            raise CheckpointError(
                f"{self.address} needs boto3, which is not installed: pip install boto3"
            ) from None
        request: dict[str, Any] = {"Bucket": self.bucket, "Key": self.key}
        if start:
            request |= {"Range": f"bytes={start}-", "IfMatch": version}
        connect_s, read_s = CHECKPOINTS.timeouts()
        config = Config(connect_timeout=connect_s, read_timeout=read_s)
        try:
            answer = boto3.session.Session().client("s3", config=config).get_object(**request)
        except exceptions.ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = str(error.response.get("Error", {}).get("Code", ""))
            raise _status_error(self.address, int(status), code) from None
        except (exceptions.BotoCoreError, OSError, ValueError) as error:
            if is_network_error(error):
                raise TransientError(reason(error)) from None
            raise CheckpointError(
                f"cannot download {self.address}: {_s3_reason(type(error).__name__)}"
            ) from None
        begin, size = start, start + int(answer["ContentLength"])
        if start and answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
            begin, size = 0, int(answer["ContentLength"])
        return ObjectResponse(begin, size, str(answer.get("ETag", "")), _S3Body(answer["Body"]))


def _s3_reason(kind: str) -> str:
    if "Credential" in kind:
        return "no usable credentials for the object storage were found"
    return f"the object storage is not configured ({kind}); check the AWS_* variables"


@dataclass(frozen=True)
class _S3Body:
    stream: Any

    def read(self, amount: int) -> bytes:
        from botocore import exceptions

        try:
            return bytes(self.stream.read(amount))
        except (exceptions.BotoCoreError, OSError) as error:
            raise TransientError(reason(error)) from None

    def close(self) -> None:
        self.stream.close()
