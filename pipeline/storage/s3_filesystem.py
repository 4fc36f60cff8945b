"""Arrow's S3 file system with the endpoint, credentials and certificates of boto3.

Arrow's own file system stops after three attempts within a few seconds, finds credentials in fewer
places, and its pickle contains the credentials but not the retry settings.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions
import botocore.session
import pyarrow.fs as pafs
from botocore.config import Config

from pipeline.storage.proxy_filesystem import Delegating
from sta.retry import RUN_FILES, TRANSIENT_STATUSES, RetryPolicy

# Methods whose credentials Arrow finds as well and renews itself, also for open streams.
_RENEWED_BY_ARROW = {"iam-role", "container-role", "assume-role-with-web-identity"}

_SAID = {
    "NoSuchBucket": "there is no such bucket",
    "AccessDenied": "access denied; the credentials in use do not permit this",
    "InvalidAccessKeyId": "the storage does not know the access key",
    "SignatureDoesNotMatch": "the secret key does not match the access key",
    "ExpiredToken": "the credentials have expired",
    "InvalidToken": "the session token is not valid",
    "NetworkConnection": "the storage cannot be reached",
    "SlowDown": "the storage still throttles requests after all attempts",
}
_NO_CREDENTIALS = (
    "no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile"
)
# Regular expressions of Arrow's messages for transient errors, to add to Ray Data's
# `DataContext.retried_io_errors`.
TRANSIENT_ERRORS = (
    rf"AWS Error UNKNOWN \(HTTP status ({TRANSIENT_STATUSES})\)",
    "AWS Error REQUEST_TIMEOUT",
    "AWS Error THROTTLING",
)
_ARROW_CODE = re.compile(r"AWS Error ([A-Z_]+)")


@dataclass(frozen=True)
class Endpoint:
    """The server of a bucket.

    Attributes:
        region: region of the bucket.
        scheme: "https", or "http" if the endpoint's address has it.
        host: host, port and path of a server other than AWS; "" for AWS.
        certificates: file of trusted certificate authorities; "" for the system's.
    """

    region: str
    scheme: str = "https"
    host: str = ""
    certificates: str = ""


class S3Files(Delegating):
    """The objects of one server; paths are bucket/key.

    A pickle contains no credentials; the process that loads it finds its own.
    """

    protocol = ("s3",)

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self.endpoint = endpoint
        self._session: Any = None
        self._built: tuple[Any, pafs.FileSystem] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_session": None, "_built": None}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, S3Files) and other.endpoint == self.endpoint

    def __hash__(self) -> int:
        return hash(self.endpoint)

    def native(self) -> pafs.FileSystem:
        """Arrow's client, rebuilt when the credentials change.

        Raises:
            PermissionError: there are no credentials.
        """
        keys = self._keys()
        if self._built is None or self._built[0] != keys:
            self._built = (keys, _client(self.endpoint, keys))
        return self._built[1]

    def create_dir(self, path: str, recursive: bool) -> None:
        """Does nothing: object storage has no folders, and a user may be limited to a prefix."""

    def _keys(self) -> Any:
        """(access key, secret key, session token); None if Arrow finds the credentials itself."""
        if self._session is None:
            self._session = botocore.session.get_session()
        try:
            found = self._session.get_credentials()
            if found is None:
                raise PermissionError(_NO_CREDENTIALS)
            return None if found.method in _RENEWED_BY_ARROW else found.get_frozen_credentials()
        except (botocore.exceptions.BotoCoreError, RuntimeError) as error:
            # botocore raises RuntimeError for a credential process that returns expired keys.
            raise PermissionError(storage_reason(error)) from error


def _client(endpoint: Endpoint, keys: Any) -> pafs.S3FileSystem:
    settings: dict[str, Any] = {
        "region": endpoint.region,
        "scheme": endpoint.scheme,
        "connect_timeout": RUN_FILES.connect_timeout_s,
        "request_timeout": RUN_FILES.read_timeout_s,
        "retry_strategy": pafs.AwsStandardS3RetryStrategy(max_attempts=RUN_FILES.max_failures),
    }
    if endpoint.host:
        settings["endpoint_override"] = endpoint.host
    if endpoint.certificates:
        settings["tls_ca_file_path"] = endpoint.certificates
    if keys is not None:
        settings |= {"access_key": keys.access_key, "secret_key": keys.secret_key}
        settings |= {"session_token": keys.token} if keys.token else {}
    return pafs.S3FileSystem(**settings)


def s3_filesystem(bucket: str) -> pafs.PyFileSystem:
    """The Arrow file system of a bucket, with the settings of this process.

    Raises:
        OSError: the settings are invalid, such as a profile that does not exist.
    """
    settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    return _filesystem(bucket, settings)


@lru_cache(maxsize=64)
def _filesystem(bucket: str, settings: tuple[tuple[str, str], ...]) -> pafs.PyFileSystem:
    try:
        return S3Files(_endpoint(bucket)).filesystem()
    except botocore.exceptions.BotoCoreError as error:
        raise OSError(f"the storage is not configured: {storage_reason(error)}") from error


def _endpoint(bucket: str) -> Endpoint:
    session = botocore.session.get_session()
    region = session.get_config_variable("region")
    certificates = session.get_config_variable("ca_bundle") or ""
    address = _address(session, Config())
    if address == _address(session, Config(ignore_configured_endpoint_urls=True)):
        # If the server is not reachable or the bucket does not exist, the first use reports it.
        with contextlib.suppress(OSError):
            region = pafs.resolve_s3_region(bucket)
        return Endpoint(region=region or "us-east-1", certificates=certificates)
    parts = urlsplit(address)
    return Endpoint(
        region=region or "us-east-1",
        scheme=parts.scheme,
        host=parts.netloc + parts.path.rstrip("/"),
        certificates=certificates,
    )


def _address(session: Any, config: Config) -> str:
    region = session.get_config_variable("region") or "us-east-1"
    # This client sends no request; with dummy keys it does not ask for credentials.
    keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    client = session.create_client("s3", region_name=region, config=config, **keys)
    return str(client.meta.endpoint_url)


def s3_client(policy: RetryPolicy = RUN_FILES, *, mode: str = "standard", **settings: Any) -> Any:
    """A boto3 client for the same storage.

    Args:
        policy: attempts (`max_failures`) and timeouts.
        mode: retry mode of boto3; "adaptive" also slows down if the storage throttles.
        settings: more settings of `botocore.config.Config`.
    """
    connect_s, read_s = policy.timeouts()
    settings |= {
        "retries": {"mode": mode, "total_max_attempts": policy.max_failures},
        "connect_timeout": connect_s,
        "read_timeout": read_s,
    }
    session = botocore.session.get_session()
    region = session.get_config_variable("region") or "us-east-1"
    return session.create_client("s3", region_name=region, config=Config(**settings))


def storage_reason(error: BaseException) -> str:
    """The reason of a storage error, in one line without credentials.

    Args:
        error: exception of boto3, Arrow or the operating system.
    """
    if isinstance(error, botocore.exceptions.ClientError):
        code = str(error.response.get("Error", {}).get("Code", "?"))
        return _SAID.get(code, f"the storage answered {code}")
    if isinstance(error, botocore.exceptions.NoCredentialsError):
        return _NO_CREDENTIALS
    if isinstance(error, botocore.exceptions.CredentialRetrievalError):
        return f"{error.kwargs['provider']} returned no credentials"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines() or [type(error).__name__]
    found = _ARROW_CODE.search(lines[0])
    name = "".join(part.capitalize() for part in found[1].split("_")) if found else ""
    return _SAID.get(name, lines[0])
