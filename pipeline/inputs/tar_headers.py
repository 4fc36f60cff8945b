"""Reads the headers of a tar archive: names, places and sizes of its members, not their content.

POSIX (pax), GNU and old formats. Nothing is unpacked, and no link is followed.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import NamedTuple, Protocol

_BLOCK = 512
# Names and other attributes of one member; tools write a few hundred bytes.
_MOST_ATTRIBUTES = 1 << 20
# What may follow the end: archives are filled to whole records, of 10 KiB by default.
_MOST_FILLING = 1 << 20
_ZEROS = bytes(_BLOCK)
_LINKS = {tarfile.LNKTYPE: "a hard link", tarfile.SYMTYPE: "a symbolic link"}
_SPECIAL = {
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_SPARSE = "a sparse member, which is stored without its holes; pack it without --sparse"
_VOLUME, _CONTINUED = b"V", b"M"
_OLD_SPARSE_MORE, _SPARSE_MORE = 482, 504  # bytes that say whether another block of holes follows


class Readable(Protocol):
    """The bytes of an archive."""

    def reaches(self, end: int) -> bool:
        """Whether the archive has so many bytes."""

    def read_at(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on, fewer only at the end."""


class Member(NamedTuple):
    """A member that is no folder.

    Attributes:
        name: as the archive has it; bytes that are not UTF-8 are escaped as surrogates.
        offset: of its first byte in the archive.
        size: its bytes.
        problem: what it is, if it is no plain file; None for a file.
    """

    name: str
    offset: int
    size: int
    problem: str | None = None


class DamagedArchiveError(Exception):
    """The archive cannot be read on; members before this place are whole."""


def members(file: Readable) -> Iterator[Member]:
    """Yields the members in their order.

    Raises:
        DamagedArchiveError: the archive ends early, or a header is damaged.
    """
    at = 0
    shared: dict[str, str] = {}
    own: dict[str, str] = {}
    while True:
        block = file.read_at(at, _BLOCK)
        if block == _ZEROS:
            _check_end(file, at)
            return
        if not block and at:
            raise DamagedArchiveError("the archive has no end marker, so it may have been cut off")
        info = _header(block, at)
        begin = at + _BLOCK
        if info.type in (
            *_PAX,
            tarfile.XGLTYPE,
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
        ):
            data = _attributes(file, begin, info.size)
            if info.type == tarfile.XGLTYPE:
                shared |= _records(data, at)
            elif info.type in _PAX:
                own |= _records(data, at)
            elif info.type == tarfile.GNUTYPE_LONGNAME:
                own["path"] = _text(data.partition(b"\0")[0])
            at = begin + _filled(info.size)
            continue
        attributes, own = shared | own, {}
        if info.type == tarfile.GNUTYPE_SPARSE:
            begin = _after_holes(file, block, begin)
        size = _size(info, attributes, at)
        name = attributes.get("GNU.sparse.name") or attributes.get("path") or info.name
        if not file.reaches(begin + size):
            raise DamagedArchiveError(f"the archive ends within its member {name!r}")
        if info.type not in (tarfile.DIRTYPE, _VOLUME):
            yield Member(name, begin, size, _problem(info.type, attributes))
        at = begin + _filled(size)


def _header(block: bytes, at: int) -> tarfile.TarInfo:
    if len(block) < _BLOCK:
        raise DamagedArchiveError("the archive ends within a header" if at else "not a tar archive")
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError):
        raise DamagedArchiveError(
            f"the archive is damaged at byte {at:,}" if at else "not a tar archive"
        ) from None
    if info.size < 0:
        raise DamagedArchiveError(f"the archive is damaged at byte {at:,}: a size is negative")
    return info


def _check_end(file: Readable, at: int) -> None:
    """Raises DamagedArchiveError if much follows the end: a copy may have holes of zeros."""
    if file.reaches(at + _MOST_FILLING + 1):
        raise DamagedArchiveError(
            f"the end marker of the archive, at byte {at:,}, is followed by more than "
            f"{_MOST_FILLING:,} bytes, as in a broken copy"
        )


def _attributes(file: Readable, begin: int, size: int) -> bytes:
    """The data of a header that describes the next member."""
    if size > _MOST_ATTRIBUTES:
        raise DamagedArchiveError(f"a header of the archive has {size:,} bytes of attributes")
    data = file.read_at(begin, size)
    if len(data) < size:
        raise DamagedArchiveError("the archive ends within a header")
    return data


def _records(data: bytes, at: int) -> dict[str, str]:
    """The attributes of a pax header, each `LENGTH NAME=VALUE\\n`."""
    found = {}
    begin = 0
    while begin < len(data) and data[begin]:
        digits = data[begin : begin + 20].partition(b" ")[0]
        end = begin + int(digits) if digits.isdigit() else begin
        name, equals, value = data[begin + len(digits) + 1 : end - 1].partition(b"=")
        if not (name and equals) or data[end - 1 : end] != b"\n":
            raise DamagedArchiveError(f"the archive is damaged at byte {at:,}: wrong attributes")
        found[_text(name)] = _text(value)
        begin = end
    return found


def _size(info: tarfile.TarInfo, attributes: dict[str, str], at: int) -> int:
    """Bytes that the archive stores of a member."""
    if info.type in (*_LINKS, *_SPECIAL, tarfile.DIRTYPE, _VOLUME):
        return 0
    text = attributes.get("size", str(info.size))
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise DamagedArchiveError(f"the archive is damaged at byte {at:,}: a size is {text[:20]!r}")
    return int(text)


def _after_holes(file: Readable, block: bytes, begin: int) -> int:
    """Where the data of a sparse member begins: further blocks with its holes come before."""
    more = block[_OLD_SPARSE_MORE]
    while more:
        block = file.read_at(begin, _BLOCK)
        if len(block) < _BLOCK:
            raise DamagedArchiveError("the archive ends within a header")
        more = block[_SPARSE_MORE]
        begin += _BLOCK
    return begin


def _problem(kind: bytes, attributes: dict[str, str]) -> str | None:
    if kind == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in attributes):
        return _SPARSE
    if kind == _CONTINUED:
        return "the rest of a member that begins in another volume"
    return _LINKS.get(kind) or _SPECIAL.get(kind)


def _filled(size: int) -> int:
    """Bytes of the whole blocks that hold so many."""
    return -(-size // _BLOCK) * _BLOCK


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
