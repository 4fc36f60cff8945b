"""Addresses of objects: which are in object storage and which on web servers, and their parts."""

from __future__ import annotations

import re
from dataclasses import dataclass

OBJECT_SCHEMES = ("s3://", "gs://", "az://", "abfss://")
"""Schemes of object storage, which can be listed and written to."""
WEB_SCHEMES = ("https://", "http://")
"""Schemes of web servers, of which single objects are read."""

# Keys that obstore cannot name: with an empty part, a part "." or "..", or a control character.
UNUSUAL_KEY = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class ObjectAddress:
    """The parts of an object's address.

    Attributes:
        scheme: such as "s3".
        container: bucket, or Azure container, with the account if the address names one:
            container@account.dfs.core.windows.net.
        key: name within the container, as it stands; "" for the container itself.
    """

    scheme: str
    container: str
    key: str


def is_object(uri: str) -> bool:
    """Whether an address is an object in object storage."""
    return uri.startswith(OBJECT_SCHEMES)


def is_web(uri: str) -> bool:
    """Whether an address is an https:// or http:// one."""
    return uri[:8].lower().startswith(WEB_SCHEMES)


def is_remote(uri: str) -> bool:
    """Whether an address is not a local file."""
    return is_object(uri) or is_web(uri)


def object_address(uri: str) -> ObjectAddress:
    """The parts of an address with one of `OBJECT_SCHEMES`."""
    scheme, _, rest = uri.partition("://")
    container, _, key = rest.partition("/")
    return ObjectAddress(scheme, container, key)
