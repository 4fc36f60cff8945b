"""Normalizes addresses of files to an absolute path or an address of a store."""

from __future__ import annotations

import os
import posixpath
import re
from urllib.parse import unquote_to_bytes, urlsplit

from sta.transport.object_address import is_remote

IN_STORAGE = "^(s3|gs|az|abfss)://"
"""Regular expression of addresses of object storage, whose read requests cost money."""

SUPPORTED = (
    "a path, file:///path, s3://bucket/key, gs://bucket/key, az://container/key, "
    "abfss://container@account.dfs.core.windows.net/key or https://host/file"
)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SPECIAL = re.compile(r"^~|[:\\]")
# Other names of the same stores: Hadoop's, Google's and Azure's.
_OTHER_NAMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "azure": "az", "abfs": "abfss"}
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\[^\\]+\\")


def normalized(text: str) -> str:
    """A path or an address of a store.

    file:// becomes a path, Hadoop's s3a:// and s3n:// become s3://, and ~ the user's home.

    Raises:
        ValueError: another scheme, a file:// address of another machine, or a Windows path.
    """
    if not _SPECIAL.search(text):
        return text  # nearly all rows of a list
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _path(text)
    name, rest = scheme[1].lower(), text[scheme.end() :]
    name = _OTHER_NAMES.get(name, name)
    if is_remote(f"{name}://"):
        return f"{name}://{rest}"
    if name == "file":
        return _file_path(text)
    raise ValueError(f"{scheme[0]} addresses cannot be read; name {SUPPORTED}")


def local_path(uri: str) -> str:
    """The path of a local file from its absolute path or, if that is not Unicode, its address."""
    return os.fsdecode(unquote_to_bytes(uri[len("file://") :])) if uri.startswith("file:") else uri


def absolute(text: str, base: str) -> str:
    """`normalized`, with a relative path joined to a folder.

    Args:
        text: the address.
        base: absolute path or address of the folder.

    Raises:
        ValueError: as in `normalized`, or the path has backslashes instead of slashes.
    """
    place = normalized(text)
    if is_remote(place) or os.path.isabs(place) or place.startswith("file://"):
        return place
    joined = posixpath.join(base, place)
    if "\\" in place and "/" not in place and not is_remote(base) and not os.path.lexists(joined):
        raise ValueError(
            f"{text!r} has backslashes and there is no such file in {base}; write / instead"
        )
    return joined


def _path(text: str) -> str:
    if text.lower().startswith("file:/"):
        return _file_path(text)
    if _DRIVE.match(text) and not os.path.lexists(text):
        raise ValueError(
            f"{text!r} is a Windows path, which does not exist on this machine; name the path "
            f"where the drive is mounted here"
        )
    return os.path.expanduser(text)


def _file_path(uri: str) -> str:
    """The path of a file:// address; a path that is not Unicode stays an address."""
    parts = urlsplit(uri.replace("?", "%3F").replace("#", "%23"))
    if parts.netloc not in ("", "localhost"):
        raise ValueError(
            f"{uri!r} names a machine ({parts.netloc}); write file:///path with three slashes"
        )
    if not parts.path.startswith("/"):
        raise ValueError(f"{uri!r} is not an absolute path; write file:///path")
    path = unquote_to_bytes(parts.path)
    try:
        return path.decode()
    except UnicodeDecodeError:
        return f"file://{parts.path}"
