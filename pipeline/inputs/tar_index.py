"""The index of a tar archive on any store: its members and the labels beside them.

An archive is indexed once in a process, however often its input is listed.
"""

from __future__ import annotations

import io
import json
import pickle
import threading
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.inputs.first_bytes import HEAD_BYTES
from pipeline.inputs.tar_headers import DamagedArchiveError, Member, Readable, members
from pipeline.inputs.video_names import extension_of
from sta.text import redacted
from sta.transport.object_address import is_remote
from workers.decoding.sniffing import TAR, other_format
from workers.failures import ErrorType, UnitFailure
from workers.io.content import Source
from workers.io.fetching import file_etag, open_source
from workers.io.gzip_part import FINE_SPACING_BYTES, SPACING_BYTES, failure_of, unpacked
from workers.io.parts import ByteRange

# A request takes about as long as a few MiB. Where headers lie close together, so much is read at
# once, content and all; where they lie apart, only little around each.
_MOST_AT_ONCE = 8 << 20
_LEAST_AT_ONCE = 64 << 10
_FIRST = 256 << 10
_NEAR = 1 << 20

LABEL_EXTENSIONS = (".cls", ".json", ".txt")
"""Extensions of the members that hold the label of a video beside them, best first."""

_LABEL_FIELDS = ("label", "class", "cls")
_LARGEST_JSON = 1 << 20
_LONGEST_LABEL = 200

# Videos cannot be compressed: what unpacks to much more was made to keep readers busy.
_MOST_UNPACKED = 100
_READ_AT_ONCE = 1 << 20

_CACHE_BYTES = 512 << 20


@dataclass(frozen=True)
class TarIndex:
    """What an archive holds.

    Attributes:
        etag: of the archive when it was read: of an object, or as `file_etag` gives it.
        members: its members in their order.
        labels: labels by the name of the member that holds them.
        problem: why the archive could not be read to its end; None if it could.
        gzip_index: of an archive that is gzipped, its index; see `workers.io.gzip_part`.
    """

    etag: str | None
    members: list[Member] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    problem: UnitFailure | None = None
    gzip_index: bytes = b""


def indexed(uri: str, size: int | None, etag: str | None) -> TarIndex:
    """The index of the archive at `uri`.

    Args:
        uri: absolute path, file:// or s3:// address.
        size: its bytes, None if not known.
        etag: ETag of an object when it was listed; None if not known, and for files.

    Raises:
        UnitFailure: it cannot be read, for a reason that is not its content.
    """
    if is_gzip(uri):
        with open_source(uri, etag=etag, ranged=True) as whole:
            etag = whole.etag or file_etag(whole.content)
            known = _CACHE.get((uri, etag))
            return known or _CACHE.add(uri, _read_gzip(whole, etag))
    if is_remote(uri):
        if size is None or etag is None:
            with open_source(uri, etag=etag, ranged=True) as whole:
                size, etag = whole.size, whole.etag
        known = _CACHE.get((uri, etag))
        return known or _CACHE.add(uri, _read(Windows(uri, size, etag), etag))
    with open_source(uri) as whole:
        etag = file_etag(whole.content)
        known = _CACHE.get((uri, etag))
        return known or _CACHE.add(uri, _read(_File(whole), etag))


def is_gzip(uri: str) -> bool:
    """Whether an archive is gzipped, by its name."""
    return uri.lower().endswith((".tar.gz", ".tgz"))


def _read(file: Readable, etag: str | None) -> TarIndex:
    found: list[Member] = []
    labels: dict[str, str] = {}
    problem = None
    try:
        for member in members(file):
            found.append(member)
            label = _label(file, member)
            if label is not None:
                labels[member.name] = label
    except DamagedArchiveError as damage:
        other = None if found else _other_format(file)
        problem = UnitFailure(ErrorType.corrupt, str(damage))
        if other is not None:
            problem = UnitFailure(ErrorType.not_video, f"{other}, not a tar archive")
    return TarIndex(etag, found, labels, problem)


def _other_format(file: Readable) -> str | None:
    """The format of a file that is no tar archive; None where its bytes do not tell."""
    try:
        other = other_format(file.read_at(0, HEAD_BYTES))
    except DamagedArchiveError:
        return None
    return None if other == TAR else other


def _read_gzip(whole: Source, etag: str | None) -> TarIndex:
    file = _Unpacked(whole)
    index = _read(file, etag)
    if index.problem is not None and not file.has_begun:
        file = _Unpacked(whole, spacing=FINE_SPACING_BYTES)
        index = _read(file, etag)
    return replace(index, gzip_index=file.index())


class _File:
    """A local archive."""

    def __init__(self, source: Source) -> None:
        self.read_at = source.read_at
        self._size = source.size

    def reaches(self, end: int) -> bool:
        """As in `Readable`."""
        return end <= self._size


class _Unpacked:
    """The unpacked bytes of a gzipped archive, read once from its beginning to its end.

    Attributes:
        has_begun: whether any came out: damage near the beginning lets none.
    """

    def __init__(self, whole: Source, *, spacing: int = SPACING_BYTES) -> None:
        self._whole = whole
        self._stream = unpacked(whole, spacing=spacing)
        self.has_begun = False
        self._most = _MOST_UNPACKED * whole.size + (1 << 30)

    def read_at(self, offset: int, count: int) -> bytes:
        """As in `Readable`; raises UnitFailure if the file cannot be read."""
        if offset + count > self._most:
            raise DamagedArchiveError(
                f"the gzip file of {self._whole.size:,} bytes unpacks to more than {self._most:,}"
            )
        try:
            # By reading and not by seeking, so that checksums are compared.
            while (ahead := offset - self._stream.tell()) > 0:
                if not self._stream.read(min(ahead, _READ_AT_ONCE)):
                    return b""
            if ahead:
                self._stream.seek(offset)
            data = bytes(self._stream.read(count))
        except Exception as error:
            failure = failure_of(error)
            if failure.error_type is not ErrorType.corrupt:
                raise failure from None
            raise DamagedArchiveError(failure.message) from None
        self.has_begun = True
        return data

    def reaches(self, end: int) -> bool:
        """As in `Readable`."""
        return end == 0 or len(self.read_at(end - 1, 1)) == 1

    def index(self) -> bytes:
        """The index of what was read."""
        exported = io.BytesIO()
        self._stream.export_index(fileobj=exported)
        return exported.getvalue()


class Windows:
    """The bytes of an object, for a reader that goes forward and skips a lot."""

    def __init__(self, uri: str, size: int, etag: str | None) -> None:
        self.size = size
        self._uri = uri
        self._etag = etag
        self._begin = 0
        self._data = b""
        self._at_once = _FIRST

    def read_at(self, offset: int, count: int) -> bytes:
        """As in `Readable`; raises UnitFailure if the object cannot be read."""
        count = max(0, min(count, self.size - offset))
        start = offset - self._begin
        if count and not 0 <= start <= len(self._data) - count:
            self._fetch(offset, count)
            start = 0
        return self._data[start : start + count] if count else b""

    def reaches(self, end: int) -> bool:
        """As in `Readable`."""
        return end <= self.size

    def _fetch(self, offset: int, count: int) -> None:
        if self._data:
            is_near = 0 <= offset - self._begin <= len(self._data) + _NEAR
            self._at_once = min(2 * self._at_once, _MOST_AT_ONCE) if is_near else _LEAST_AT_ONCE
        wanted = ByteRange(offset, min(max(count, self._at_once), self.size - offset))
        with open_source(self._uri, part=str(wanted), etag=self._etag) as piece:
            self._begin, self._data = offset, piece.read_at(0, piece.size)


def _label(file: Readable, member: Member) -> str | None:
    """The label that a member holds, if it is one; damaged ones are none."""
    extension = extension_of(member.name)
    most = _LARGEST_JSON if extension == ".json" else 4 * _LONGEST_LABEL
    if extension not in LABEL_EXTENSIONS or member.problem or not 0 < member.size <= most:
        return None
    try:
        text = file.read_at(member.offset, member.size).decode("utf-8-sig")
        value = _json_label(json.loads(text)) if extension == ".json" else text
    except (ValueError, RecursionError):
        return None
    label = redacted(str(value).strip()) if value is not None else ""
    is_line = 0 < len(label) <= _LONGEST_LABEL and label.isprintable()
    return label if is_line else None


def _json_label(document: Any) -> str | int | None:
    fields = document if isinstance(document, dict) else {}
    values = (fields.get(name) for name in _LABEL_FIELDS)
    return next((each for each in values if type(each) in (str, int)), None)


class _Cache:
    """Indexes that were made in this process, compressed; none are added beyond a size."""

    def __init__(self) -> None:
        self._bytes = 0
        self._indexes: dict[tuple[str, str | None], bytes] = {}
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str | None]) -> TarIndex | None:
        packed = self._indexes.get(key) if key[1] is not None else None
        return None if packed is None else _unpacked(packed)

    def add(self, uri: str, index: TarIndex) -> TarIndex:
        packed = zlib.compress(pickle.dumps(index), 1)
        with self._lock:
            if self._bytes + len(packed) <= _CACHE_BYTES:
                self._bytes += len(packed)
                self._indexes[uri, index.etag] = packed
        return index


def _unpacked(packed: bytes) -> TarIndex:
    index: TarIndex = pickle.loads(zlib.decompress(packed))
    return index


_CACHE = _Cache()
