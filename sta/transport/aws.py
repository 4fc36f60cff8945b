"""Where the buckets of s3:// addresses are and who asks for them.

The environment alone is read where it is complete: keys, and an endpoint or a region. Everything
else (profiles, SSO, roles, credential processes, metadata servers) is botocore's, which is imported
only then. It finds and renews credentials; it sends no request to the storage.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sta.transport.responses import StoreError, response_error
from sta.transport.retry import RUN_FILES, RetryPolicy

NO_CREDENTIALS = (
    "no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile"
)
_KEYS = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
# obstore asks again for keys five minutes before this time.
_KEYS_LAST = timedelta(minutes=10)
_REGION_SECONDS = 5.0
_SIGNED_SECONDS = 900


@dataclass(frozen=True)
class S3Settings:
    """Settings of an obstore S3Store.

    Attributes:
        config: its `config`, without credentials.
        provider: its `credential_provider`; None if the keys are in the environment.
        certificates: file of trusted certificate authorities; "" for the system's.
    """

    config: dict[str, Any]
    provider: Any
    certificates: str


class Keys:
    """The keys that botocore finds, as obstore asks for them. Its pickle would contain them."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    def __call__(self) -> dict[str, Any]:
        """Keys that are valid for the next minutes."""
        frozen = self._credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _KEYS_LAST,
        }

    def __reduce__(self) -> Any:
        raise TypeError("keys of the object storage are not pickled; each process finds its own")


def current_keys() -> tuple[tuple[str, str], ...]:
    """The keys in use, renewed if they expire; () if they are in the environment.

    Raises:
        StoreError: there are none.
    """
    if not _needs_session():
        return ()
    credentials = session()[1]
    try:
        frozen = credentials.get_frozen_credentials()
    except Exception as error:
        raise botocore_error(error) from None
    names = ("access", "secret", "token")
    values = (frozen.access_key, frozen.secret_key, frozen.token or "")
    return tuple(zip(names, values, strict=True))


def s3_settings(bucket: str) -> S3Settings:
    """The settings of a bucket's store.

    Raises:
        StoreError: there are no credentials, or a profile does not exist.
    """
    config, provider, certificates = _configured()
    if endpoint := config.get("endpoint", ""):
        config["endpoint"] = endpoint.rstrip("/")
        config["aws_endpoint_url_s3"] = config["endpoint"]
        config.setdefault("region", "us-east-1")
    else:
        config["region"] = bucket_region(bucket, config.get("region", "us-east-1"))
        config["endpoint"] = _aws_endpoint(config["region"], bucket)
        config["virtual_hosted_style_request"] = "." not in bucket
    config["disable_bulk_delete"] = True  # some servers lack it, and objects go one by one here
    return S3Settings(config, provider, certificates)


def server() -> str:
    """Address of the server that requests go to, without one.

    Raises:
        StoreError: as in `s3_settings`.
    """
    config, _, _ = _configured()
    region = config.get("region", "us-east-1")
    return str(config.get("endpoint") or _aws_endpoint(region, "."))


def _configured() -> tuple[dict[str, Any], Any, str]:
    """(config, credential provider, certificates), without what only AWS knows of a bucket."""
    if _needs_session():
        return _by_session()
    config: dict[str, Any] = {}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        config["region"] = region
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        config["endpoint"] = endpoint
    return config, None, os.environ.get("AWS_CA_BUNDLE", "")


def _needs_session() -> bool:
    """Whether settings may come from elsewhere than the environment."""
    environment = os.environ
    if not all(environment.get(name) for name in _KEYS[:2]) or environment.get("AWS_PROFILE"):
        return True
    return os.path.exists(os.path.expanduser(environment.get("AWS_CONFIG_FILE", "~/.aws/config")))


def _by_session() -> tuple[dict[str, Any], Any, str]:
    from botocore.configprovider import ConfiguredEndpointProvider

    config: dict[str, Any] = {}
    found, credentials = session()
    region = os.environ.get("AWS_REGION") or found.get_config_variable("region")
    if region:
        config["region"] = region
    if not found.get_config_variable("ignore_configured_endpoint_urls"):
        scoped = found.get_scoped_config()
        endpoint = ConfiguredEndpointProvider(found.full_config, scoped, "s3").provide()
        if endpoint:
            config["endpoint"] = endpoint
    return config, Keys(credentials), found.get_config_variable("ca_bundle") or ""


def session() -> tuple[Any, Any]:
    """botocore's session for this process's environment, and its credentials.

    Raises:
        StoreError: there are no credentials, or the settings are invalid.
    """
    found = _session_of(
        tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    )
    if found[1] is None:
        _session_of.cache_clear()  # they may come
        raise StoreError(NO_CREDENTIALS, "forbidden", "NoCredentials")
    return found


@lru_cache(maxsize=4)
def _session_of(settings: tuple[tuple[str, str], ...]) -> tuple[Any, Any]:
    """botocore's session for this environment, and the credentials that it finds."""
    try:
        import botocore.session
    except ImportError:
        raise StoreError(
            "botocore, which finds credentials of profiles and roles, is not installed: "
            "pip install boto3",
            "forbidden",
        ) from None
    try:
        made = botocore.session.get_session()
        return made, made.get_credentials()
    except Exception as error:
        raise botocore_error(error) from None


def library_options(uri: str) -> dict[str, str] | None:
    """Settings of S3 for libraries with stores of their own; None for other addresses.

    They are what boto3 finds. Libraries such as Lance and Delta look in fewer places: they know
    no profile, and refuse a plain http:// endpoint.
    """
    if not uri.startswith("s3://"):
        return None
    import boto3

    found_session = boto3.Session()
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    found = {"aws_region": found_session.region_name, "aws_endpoint": endpoint}
    if endpoint is not None and endpoint.startswith("http://"):
        found["aws_allow_http"] = "true"
    if (credentials := found_session.get_credentials()) is not None:
        frozen = credentials.get_frozen_credentials()
        found["aws_access_key_id"] = frozen.access_key
        found["aws_secret_access_key"] = frozen.secret_key
        found["aws_session_token"] = frozen.token
    return {name: value for name, value in found.items() if value}


def botocore_error(error: BaseException) -> StoreError:
    """The StoreError of an exception of botocore, mostly while it looks for credentials."""
    name = type(error).__name__
    if isinstance(error, StoreError):
        return error
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return response_error(status, str(answer.get("Error", {}).get("Code", "")))
    if "Connection" in name or "Timeout" in name:
        said = "connection failed"
        return StoreError(f"the object storage did not answer ({said})", "transient", said)
    if name in ("ProfileNotFound", "InvalidConfigError", "ConfigParseError"):
        return StoreError(f"the storage is not configured: {str(error).splitlines()[0]}")
    if name == "CredentialRetrievalError":
        provider = getattr(error, "kwargs", {}).get("provider", "the provider")
        return StoreError(f"{provider} returned no credentials", "forbidden")
    if name in ("NoCredentialsError", "PartialCredentialsError"):
        return StoreError(NO_CREDENTIALS, "forbidden", "NoCredentials")
    if isinstance(error, RuntimeError) and "expired" in str(error):
        # botocore raises it for a credential process that returns expired keys.
        return StoreError("the credentials that were returned have expired", "forbidden")
    return StoreError(f"credentials for the object storage did not come ({name})", "forbidden")


def signed_address(bucket: str, key: str) -> str:
    """An address by which anybody can read an object for some minutes; for no log or message."""
    return str(
        client(bucket, RUN_FILES).generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=_SIGNED_SECONDS
        )
    )


def client(bucket: str, policy: RetryPolicy) -> Any:
    """botocore's client for a bucket, for the keys that obstore cannot name."""
    from botocore.config import Config

    connect_s, read_s = policy.timeouts()
    settings = s3_settings(bucket)
    endpoint = settings.config["endpoint"]
    if settings.config.get("virtual_hosted_style_request"):
        endpoint = endpoint.replace(f"://{bucket}.", "://", 1)
    return session()[0].create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.config["region"],
        verify=settings.certificates or None,
        config=Config(
            signature_version="s3v4",
            retries={"mode": "standard", "total_max_attempts": policy.max_failures or 1},
            connect_timeout=connect_s,
            read_timeout=read_s,
        ),
    )


def _aws_endpoint(region: str, bucket: str) -> str:
    """The address of a bucket at AWS, as AWS_USE_FIPS_ENDPOINT and _DUALSTACK_ENDPOINT want it."""
    fips = os.environ.get("AWS_USE_FIPS_ENDPOINT", "").lower() == "true"
    dual = os.environ.get("AWS_USE_DUALSTACK_ENDPOINT", "").lower() == "true"
    host = f"s3{'-fips' if fips else ''}{'.dualstack' if dual else ''}.{region}.amazonaws.com"
    if region.startswith("cn-"):
        host += ".cn"
    return f"https://{host}" if "." in bucket else f"https://{bucket}.{host}"


def bucket_region(bucket: str, usual: str) -> str:
    """The region of a bucket at AWS, which says so to anybody; `usual` if it does not answer."""
    import http.client  # workers with keys and an endpoint never pay for it

    suffix = ".cn" if usual.startswith("cn-") else ""
    connection = http.client.HTTPSConnection(
        f"s3.{usual}.amazonaws.com{suffix}", timeout=_REGION_SECONDS
    )
    # If the bucket does not exist or the server is not reachable, the first use reports it.
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        connection.request("HEAD", f"/{bucket}")
        usual = connection.getresponse().getheader("x-amz-bucket-region") or usual
    connection.close()
    return usual
