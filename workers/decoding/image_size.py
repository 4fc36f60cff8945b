"""Width and height of a picture from its header, before anything is decoded."""

from __future__ import annotations

import struct

_PNG = b"\x89PNG\r\n\x1a\n"
_WHOLE = 64  # bytes at the end in which a whole picture says that it ends


def image_size(data: bytes) -> tuple[int, int]:
    """(width, height) of a JPEG, PNG, WebP or BMP picture.

    Raises ValueError for another format, and for one that is cut off.
    """
    try:
        if data.startswith(_PNG) and data[12:16] == b"IHDR":
            width, height = struct.unpack_from(">II", data, 16)
            whole = b"IEND" in data[-_WHOLE:]
        elif data.startswith(b"\xff\xd8\xff"):
            width, height = _jpeg(data)
            whole = b"\xff\xd9" in data[-_WHOLE:]
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            width, height = _webp(data)
            whole = int.from_bytes(data[4:8], "little") + 8 <= len(data)
        elif data.startswith(b"BM"):
            width, height = map(abs, struct.unpack_from("<ii", data, 18))
            whole = int.from_bytes(data[2:6], "little") <= len(data)
        else:
            raise ValueError("it is no JPEG, PNG, WebP or BMP picture")
    except (struct.error, IndexError):
        raise ValueError("its header is cut off") from None
    if not whole:
        raise ValueError("it is cut off")
    if not width or not height:
        raise ValueError("it has no pixels")
    return width, height


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        if data[at] != 0xFF:
            raise ValueError("its header is damaged")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        elif marker in (0xD9, 0xDA):
            raise ValueError("its header has no size")
        else:
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        sizes = struct.unpack_from("<HH", data, 26)
        width, height = sizes[0] & 0x3FFF, sizes[1] & 0x3FFF
    return width, height
