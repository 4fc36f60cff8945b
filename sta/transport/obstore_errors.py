"""The StoreError that an exception of obstore means.

obstore's own messages contain addresses and the server's text, so only the HTTP status, the
storage's error code, the kind of network error and the server's name are taken from them.
"""

from __future__ import annotations

import re

from sta.transport.responses import StoreError, response_error

_STATUS = re.compile(r"status code: (\d{3})\b")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{2,48})</Code>")
_NETWORK = re.compile(r"\bkind: (Connect|Timeout|Interrupted|Body|Request|Decode)\b")
_SERVER = re.compile(r"performing [A-Z]+ https?://([\w.:\[\]-]+)/")
_NETWORK_NAMES = {
    "Connect": "connection failed",
    "Timeout": "no answer in time",
    "Interrupted": "connection broken",
}


def store_error(error: BaseException) -> StoreError:
    """The StoreError of an exception of obstore, botocore or the operating system."""
    if isinstance(error, StoreError):
        return error
    module = type(error).__module__
    if module.startswith("botocore"):
        from sta.transport.aws import botocore_error

        return botocore_error(error)
    name, text = type(error).__name__, str(error)
    if isinstance(error, ValueError) and "parse path" in text:
        return StoreError("no valid name of an object", "not_found")
    if "Account must be specified" in text:
        return StoreError("AZURE_STORAGE_ACCOUNT_NAME is not set", "forbidden")
    if "token request" in text or "credential provider" in text:
        return StoreError(
            "no credentials found; pipeline/storage/README.md names the variables", "forbidden"
        )
    status, code = _STATUS.search(text), _CODE.search(text)
    if status is not None:
        return response_error(int(status[1]), code[1] if code else "")
    if isinstance(error, FileNotFoundError):
        return StoreError("no such object", "not_found")
    if name in ("PermissionDeniedError", "UnauthenticatedError"):
        return StoreError("access denied", "forbidden")
    if name in ("PreconditionError", "AlreadyExistsError"):
        return StoreError("the object was replaced", "changed")
    network = _NETWORK.search(text)
    if network is not None or "HTTP error" in text or isinstance(error, ConnectionError):
        said = _NETWORK_NAMES.get(network[1] if network else "", "connection broken")
        if network is None and "error sending request" in text:
            said = "connection failed"
        found = StoreError(
            f"the object storage did not answer completely ({said})", "transient", said
        )
        server = _SERVER.search(text)
        found.server = server[1] if server else ""
        return found
    if "non-partial" in text:
        return StoreError("the object storage serves no ranges")
    return StoreError(f"the object storage failed with {name}")
