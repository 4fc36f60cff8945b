"""obstore's stores of buckets and containers, from the environment of this process.

obstore is imported when the first object is opened. A process builds one store per bucket and set
of timeouts, and never pickles a store: a pickle would contain the credentials.

Errors are `StoreError`, see `obstore_errors`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import Any

from sta.transport.object_address import OBJECT_SCHEMES, ObjectAddress
from sta.transport.obstore_errors import store_error
from sta.transport.responses import StoreError
from sta.transport.retry import RetryPolicy

# obstore limits a whole request, body included, to 30 s; the read timeout and `Retries` limit it
# here, so this is only the last resort.
_REQUEST_LIMIT = timedelta(days=1)
# Repeated requests keep their signature, which a server accepts for some minutes.
_RETRY_LIMIT = timedelta(minutes=5)

_ENVIRONMENT = ("AWS_", "GOOGLE_", "AZURE_", "AZURITE_", "STORAGE_EMULATOR_HOST", "SSL_CERT_FILE")


def store_of(address: ObjectAddress, policy: RetryPolicy) -> Any:
    """This process's obstore store of a bucket or container.

    Raises:
        StoreError: there are no credentials, or the settings are invalid.
    """
    if f"{address.scheme}://" not in OBJECT_SCHEMES:
        raise StoreError("a web server can neither be listed nor written to")
    settings = tuple(
        sorted(item for item in os.environ.items() if item[0].startswith(_ENVIRONMENT))
    )
    try:
        if address.scheme == "s3":
            from sta.transport.aws import current_keys

            settings += current_keys()
        return _store(address.scheme, address.container, policy, settings)
    except StoreError:
        raise
    except Exception as error:
        raise store_error(error) from None


@lru_cache(maxsize=64)
def _store(
    scheme: str, container: str, policy: RetryPolicy, settings: tuple[tuple[str, str], ...]
) -> Any:
    from obstore import store

    kind: Any
    config: dict[str, Any]
    connect_s, read_s = policy.timeouts()
    client: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=connect_s),
        "read_timeout": timedelta(seconds=read_s),
        "timeout": _REQUEST_LIMIT,
    }
    retries = {
        "max_retries": (policy.max_failures or 1) - 1,
        "backoff": {
            "init_backoff": timedelta(seconds=policy.first_wait_s),
            "max_backoff": timedelta(seconds=min(policy.max_wait_s, 20.0)),
        },
        "retry_timeout": _RETRY_LIMIT,
    }
    environment = dict(settings)
    certificates = environment.get("SSL_CERT_FILE", "")
    if scheme == "s3":
        from sta.transport.aws import s3_settings

        found = s3_settings(container)
        config, provider = found.config, found.provider
        certificates = found.certificates or certificates
        client["allow_http"] = config.get("endpoint", "").startswith("http://")
        kind, more = store.S3Store, {"credential_provider": provider} if provider else {}
    elif scheme == "gs":
        config, more = {}, {}
        if emulator := environment.get("STORAGE_EMULATOR_HOST"):
            base = emulator if "://" in emulator else f"http://{emulator}"
            # An emulator knows no accounts.
            account = {"gcs_base_url": base, "disable_oauth": True}
            account |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
            config = {"service_account_key": json.dumps(account)}
            client["allow_http"] = base.startswith("http://")
        kind = store.GCSStore
    else:
        container, _, host = container.partition("@")
        config, more = _azure_account(host), {}
        endpoint = environment.get("AZURE_STORAGE_ENDPOINT") or environment.get("AZURE_ENDPOINT")
        emulated = environment.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in ("1", "true")
        client["allow_http"] = emulated or (endpoint or "").startswith("http://")
        kind = store.AzureStore
    if certificates:
        try:
            with open(certificates, "rb") as file:
                client["root_certificate"] = file.read()
        except OSError as error:
            raise StoreError(
                f"the certificates {certificates}, which AWS_CA_BUNDLE or SSL_CERT_FILE names, "
                f"cannot be read: {error.strerror}"
            ) from None
    try:
        return kind(container, config=config, client_options=client, retry_config=retries, **more)
    except Exception as error:
        if "Account must be specified" in str(error):
            raise
        raise StoreError(
            f"the credentials or settings of {scheme}:// in the environment are not valid; "
            f"pipeline/storage/README.md names the variables",
            "forbidden",
        ) from None


def _azure_account(host: str) -> dict[str, Any]:
    """The account that an abfss:// address names: container@account.dfs.core.windows.net."""
    return {"account_name": host.partition(".")[0]} if host else {}


def asked(request: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a method of an obstore store; its exceptions as StoreError."""
    try:
        return request(*arguments)
    except Exception as error:
        raise store_error(error) from None


def server_of(address: ObjectAddress) -> str:
    """Address of the server of a bucket of S3; "" if it is not known or another store."""
    if address.scheme != "s3":
        return ""
    from sta.transport.aws import server

    try:
        return server()
    except StoreError:  # opening the object reports what is missing
        return ""
