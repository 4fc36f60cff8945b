"""What a .pth file would make, found without making it: names, storages and tensors.

torch's restricted unpickler runs no code, but a few bytes can make it allocate any amount of memory
(`bytearray(10**10)`, a tensor of ten billion elements over a storage of one). The outline reads the
same pickle with placeholders in the place of every object, and refuses whatever is no plain setting
or no tensor that the file has bytes for.
"""

from __future__ import annotations

import math
import mmap
import pickle
import pickletools
import re
import struct
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import IO, Any, ClassVar

import torch

from sta.checkpoints.limits import MAX_OPCODES, MAX_TENSORS

NO_TORCH_FILE = "it is no torch file, or not a whole one"

_ZIP = b"PK\x03\x04"
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_MAX_DIRECTORY_BYTES = 16 * 2**20

_BYTES_PER_ELEMENT = {
    **{"torch.DoubleStorage": 8, "torch.FloatStorage": 4, "torch.HalfStorage": 2},
    **{"torch.BFloat16Storage": 2, "torch.LongStorage": 8, "torch.IntStorage": 4},
    **{"torch.ShortStorage": 2, "torch.CharStorage": 1, "torch.ByteStorage": 1},
    **{"torch.BoolStorage": 1, "torch.ComplexFloatStorage": 8, "torch.ComplexDoubleStorage": 16},
    **{"torch.UntypedStorage": 1, "torch.storage.UntypedStorage": 1},
}
_DTYPE = re.compile(r"[<>=|]?[?biuf][1248]?")
_KEYS = (str, bytes, int, float, type(None))


class RefusedPickle(Exception):  # noqa: N818
    """A pickle would make what is not allowed; the message says what."""


@dataclass(frozen=True)
class _Name:
    """A global that a pickle names, by its module and name."""

    path: str


@dataclass(frozen=True)
class _Storage:
    count: int
    bytes_per_element: int


class _Tensor:
    """A placeholder of a tensor."""


class _Dtype:
    """A placeholder of a NumPy dtype."""


@dataclass
class _Found:
    """What the pickles of one file claim.

    Attributes:
        records: bytes of each storage in a zip archive; None in a file of the older form.
        opcodes: that may still come.
        tensors: that were made.
        claimed: bytes of each storage in a file of the older form.
    """

    records: Mapping[str, int] | None = None
    opcodes: int = MAX_OPCODES
    tensors: int = 0
    claimed: dict[str, int] = field(default_factory=dict)


def check_outline(path: Path) -> None:
    """Reads the outline of a .pth file.

    Raises:
        RefusedPickle: the file is not what `torch.save` writes, or would make what is not allowed.
        Exception: of any type, where the file is no torch file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(_ZIP)) == _ZIP:
            content, records = _read_archive(file, size)
            _outline(BytesIO(content), _Found(records))
            return
        if not size:
            raise RefusedPickle(NO_TORCH_FILE)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
            _check_older_form(stream, size)


def _check_older_form(stream: mmap.mmap, size: int) -> None:
    """Five pickles, and then the storages: the form of torch before 1.6."""
    found = _Found()
    if _outline(stream, found) != _MAGIC_NUMBER:
        raise RefusedPickle(NO_TORCH_FILE)
    for _ in range(4):
        _outline(stream, found)
    if (claimed := sum(found.claimed.values())) > size:
        raise RefusedPickle(f"its storages claim {claimed:,} bytes and the file has {size:,}")


def _read_archive(file: IO[bytes], size: int) -> tuple[bytes, dict[str, int]]:
    """The pickle in a zip archive, and the bytes of each storage; members are not compressed."""
    _check_directory(file, size)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise RefusedPickle(f"its archive has {twice[0]} twice")
        for member in members:
            stored = member.compress_type == zipfile.ZIP_STORED
            if not stored or member.compress_size != member.file_size:
                raise RefusedPickle(
                    f"{member.filename} in its archive is compressed, which torch.save never does"
                )
        if (claimed := sum(member.file_size for member in members)) > size:
            raise RefusedPickle(
                f"the members of its archive claim {claimed:,} bytes and the file has {size:,}"
            )
        root = names[0].partition("/")[0] if names else ""
        if f"{root}/data.pkl" not in names:
            raise RefusedPickle(NO_TORCH_FILE)
        sizes = {member.filename: member.file_size for member in members}
        data = f"{root}/data/"
        records = {name.removeprefix(data): sizes[name] for name in names if name.startswith(data)}
        return archive.read(f"{root}/data.pkl"), records


def _check_directory(file: IO[bytes], size: int) -> None:
    """The directory ends where the file ends, so that all readers find the same one."""
    file.seek(max(0, size - 98))
    tail = file.read()
    end = tail[-22:]
    if len(end) < 22 or end[:4] != b"PK\x05\x06" or end[20:] != b"\0\0":
        raise RefusedPickle(NO_TORCH_FILE)
    length, start = struct.unpack("<II", end[12:20])
    after = 22
    if tail[-42:-38] == b"PK\x06\x07":  # of archives above 4 GiB
        length, start = struct.unpack("<QQ", tail[-58:-42])
        after += 76
    if start + length + after != size:
        raise RefusedPickle("the directory of its archive does not end where the file ends")
    if length > _MAX_DIRECTORY_BYTES:
        raise RefusedPickle(
            f"the directory of its archive has {length:,} bytes; allowed are "
            f"{_MAX_DIRECTORY_BYTES:,}"
        )


def _outline(stream: Any, found: _Found) -> object:
    """The outline of one pickle; the stream is left after it."""
    start = stream.tell()
    used = sum(1 for _ in islice(pickletools.genops(stream), found.opcodes + 1))
    found.opcodes -= used
    if found.opcodes < 0:
        raise RefusedPickle(f"its pickle has more than {MAX_OPCODES:,} opcodes")
    stream.seek(start)
    return _Outline(stream, found).load()


class _Outline(pickle._Unpickler):  # the one in Python, whose steps can be replaced
    """Reads a pickle with placeholders in the place of objects; calls nothing that it names."""

    dispatch: ClassVar[dict[int, Callable[..., None]]]  # by opcode

    def __init__(self, stream: Any, found: _Found) -> None:
        super().__init__(stream, encoding="latin1")
        self.found = found
        self.stack: list[Any]

    def find_class(self, module: str, name: str) -> _Name:
        path = f"{module}.{name}"
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if not is_dtype and path not in _BYTES_PER_ELEMENT and path not in _CALLS:
            raise RefusedPickle(f"it names {_shown(path)}, which could run code")
        return _Name(path)

    def get_extension(self, code: int) -> None:
        raise RefusedPickle(NO_TORCH_FILE)

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage, key, _, count = pid[:5]
        if kind != "storage" or not isinstance(storage, _Name) or not _is_count(count):
            raise RefusedPickle(NO_TORCH_FILE)
        made = _Storage(count, _BYTES_PER_ELEMENT[storage.path])
        claimed = made.count * made.bytes_per_element
        if self.found.records is None:
            self.found.claimed[str(key)] = max(claimed, self.found.claimed.get(str(key), 0))
        elif claimed > (stored := self.found.records.get(str(key), 0)):
            raise RefusedPickle(
                f"storage {_shown(str(key))} claims {claimed:,} bytes and the file has {stored:,} "
                "bytes for it"
            )
        return made

    def _call(self) -> None:
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise RefusedPickle(NO_TORCH_FILE)
        if name.path not in _CALLS:
            raise RefusedPickle(f"it calls {_shown(name.path)}, which could run code")
        made = _CALLS[name.path](*arguments)
        if isinstance(made, _Tensor):
            self.found.tensors += 1
            if self.found.tensors > MAX_TENSORS:
                raise RefusedPickle(f"it has more than {MAX_TENSORS:,} tensors")
        self.stack.append(made)

    def _build(self) -> None:
        self.stack.pop()
        # torch sets the storage and the shape of a tensor by its state.
        if isinstance(self.stack[-1], _Tensor | _Storage | _Name):
            raise RefusedPickle("it changes the state of a tensor")

    def _set_items(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self._set(list(zip(items[::2], items[1::2], strict=True)))

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([(key, value)])

    def _set(self, pairs: list[tuple[Any, Any]]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise RefusedPickle(NO_TORCH_FILE)
        self.stack[-1].update(_checked_pairs(pairs))

    def _refuse(self) -> None:
        raise RefusedPickle(NO_TORCH_FILE)


_Outline.dispatch = {
    **pickle._Unpickler.dispatch,
    **{code[0]: _Outline._call for code in (pickle.REDUCE, pickle.NEWOBJ)},
    **{pickle.BUILD[0]: _Outline._build, pickle.SETITEM[0]: _Outline._set_item},
    **{pickle.SETITEMS[0]: _Outline._set_items},
    **{
        code[0]: _Outline._refuse
        for code in (pickle.INST, pickle.OBJ, pickle.NEWOBJ_EX, pickle.PERSID, pickle.ADDITEMS)
    },
}


def _shown(path: str) -> str:
    return path if len(path) <= 80 else f"{path[:80]}…"


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _checked_pairs(pairs: Any) -> list[tuple[Any, Any]]:
    """Items of a dictionary. Other keys can be nested so deep that hashing them ends Python."""
    if not all(isinstance(key, _KEYS) for key, _ in pairs):
        raise RefusedPickle("a dictionary in it has a key that is no text and no number")
    return list(pairs)


def _dictionary(items: Any = ()) -> dict[Any, Any]:
    pairs = items.items() if isinstance(items, dict) else items
    return OrderedDict(_checked_pairs(pairs))


def _set_of(items: Any = ()) -> list[Any]:
    return [key for key, _ in _checked_pairs([(each, None) for each in items])]


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage) or not all(map(_is_count, (offset, *size, *stride))):
        raise RefusedPickle(NO_TORCH_FILE)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    elements = math.prod(size)
    if elements and (last >= storage.count or elements > storage.count):
        claimed = max(last + 1, elements) * storage.bytes_per_element
        raise RefusedPickle(
            f"a tensor of shape {tuple(size[:8])} claims {claimed:,} bytes of a storage of "
            f"{storage.count * storage.bytes_per_element:,}"
        )
    return _Tensor()


def _parameter(tensor: Any, *_: Any) -> _Tensor:
    if not isinstance(tensor, _Tensor):
        raise RefusedPickle(NO_TORCH_FILE)
    return _Tensor()


def _encoded(text: Any, encoding: Any) -> bytes:
    # Other encodings can make bytes longer each time: "hex" doubles them.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedPickle("it encodes bytes in a way that torch.save never does")
    return text.encode(encoding)


def _numpy_dtype(name: Any, *_: Any) -> _Dtype:
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise RefusedPickle("it has a NumPy dtype that is no plain number")
    return _Dtype()


def _numpy_scalar(dtype: Any, content: Any) -> None:
    if not isinstance(dtype, _Dtype) or not isinstance(content, bytes | str):
        raise RefusedPickle("it has a NumPy scalar that is no plain number")


def _setting(*_: Any) -> list[Any]:
    return []


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dictionary,
    "collections.Counter": _dictionary,
    "builtins.set": _set_of,
    "__builtin__.set": _set_of,
    "_codecs.encode": _encoded,
    "argparse.Namespace": _setting,
    "torch.Size": _setting,
    "torch.device": _setting,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "numpy.dtype": _numpy_dtype,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy._core.multiarray.scalar": _numpy_scalar,
}
