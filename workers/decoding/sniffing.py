"""The format of a file from its first bytes, for error messages.

FFmpeg answers "invalid data" to a text file, a picture and a truncated video alike, and opens
formats that are no video of their own (playlists, scripts, animated pictures).
"""

from __future__ import annotations

TEXT = "text"
JPEG = "a JPEG picture"
TAR = "a tar archive"
_ZEROS = "nothing but zero bytes, as a broken copy leaves them"
_POINTER = "a Git LFS pointer; the video itself was never fetched"
DAMAGED = frozenset({_ZEROS, _POINTER})
"""Results of `other_format` for files that were once a video, or should be one."""

_OTHER_FORMATS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", JPEG),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"BM", "a BMP picture"),
    (0, b"II*\0", "a TIFF picture"),
    (0, b"MM\0*", "a TIFF picture"),
    (8, b"WEBP", "a WebP picture"),
    (8, b"WAVE", "a WAV sound file"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftypavis", "an AVIF picture"),
    (4, b"ftypheic", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIF picture"),
    (0, b"8BPS", "a Photoshop picture"),
    (0, b"ID3", "an MP3 sound file"),
    (0, b"\xff\xfb", "an MP3 sound file"),
    (0, b"\xff\xf3", "an MP3 sound file"),
    (0, b"\xff\xf1", "an AAC sound file"),
    (0, b"\xff\xf9", "an AAC sound file"),
    (8, b"AIFF", "an AIFF sound file"),
    (8, b"AIFC", "an AIFF sound file"),
    (0, b"MThd", "a MIDI file"),
    (1080, b"M.K.", "a music module"),
    (0, b"fLaC", "a FLAC sound file"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\0", "an xz archive"),
    (0, b"(\xb5/\xfd", "a zstd archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (257, b"ustar", TAR),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
    (0, b"\xfe\xed\xfa", "a program"),
    (0, b"\xcf\xfa\xed\xfe", "a program"),
    (0, b"\xca\xfe\xba\xbe", "a program"),
    (0, b"\0asm", "a program"),
    (0, b"\0\x05\x16\x07", "the companion of a file, as macOS writes it (AppleDouble)"),
    (0, b"\0\0\0\x01Bud1", "a folder's view settings (.DS_Store)"),
    (0, b"SQLite format 3", "an SQLite database"),
    (0, b"\x89HDF\r\n", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"ARROW1", "an Arrow table"),
    (0, b"wOFF", "a font"),
    (0, b"wOF2", "a font"),
    (0, b"OTTO", "a font"),
    (0, b"\xd0\xcf\x11\xe0", "an Office document"),
    (0, b"PAR1", "a Parquet table"),
)
_TEXTS: tuple[tuple[bytes, str], ...] = (
    (b"#EXTM3U", "an HLS playlist, which names video files but holds none"),
    (b"ffconcat", "an ffconcat script, which names video files but holds none"),
    (b"version https://git-lfs", _POINTER),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"<mpd", "a DASH playlist, which names video files but holds none"),
    (b"<?xml", "an XML document"),
)
_VIDEOS: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyp", "MP4"),
    (4, b"moov", "MP4"),
    (4, b"mdat", "MP4"),
    (4, b"moof", "MP4"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (8, b"AVI ", "AVI"),
    (0, b"FLV", "FLV"),
    (0, b"OggS", "Ogg"),
    (0, b"\x30\x26\xb2\x75", "Windows Media"),
    (0, b"\0\0\x01\xba", "MPEG program stream"),
    (0, b"\0\0\x01\xb3", "MPEG video"),
    (0, b"YUV4MPEG2 ", "YUV4MPEG2"),
)
_JPEG_BEGINS = b"\xff\xd8\xff"
_JPEG_START, _JPEG_END, _JPEG_SCAN, _JPEG_PICTURES = 0xD8, 0xD9, 0xDA, 0xE2
_IN_SCAN = (0x00, *range(0xD0, 0xD8), 0xFF)  # stuffing, restarts and padding


def other_format(head: bytes) -> str | None:
    """What a file that is no video is, in words; None if it may be a video.

    ``head``: its first bytes, 512 or more where there are so many.
    """
    for offset, magic, words in _OTHER_FORMATS:
        if head[offset : offset + len(magic)] == magic:
            return words
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:64].lower()
    for magic, words in _TEXTS:
        if start.startswith(magic.lower()):
            return words
    if video_format(head) is not None:
        return None
    if head and not any(head):
        return _ZEROS
    if _is_text(head):
        return TEXT
    return None


def video_format(head: bytes) -> str | None:
    """The name of the video container that ``head`` begins, None if it begins none."""
    for offset, magic, name in _VIDEOS:
        if head[offset : offset + len(magic)] == magic:
            return name
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return "MPEG transport stream"
    return None


def is_jpeg_stream(data: bytes) -> bool:
    """Whether another picture follows the JPEG picture that ``data`` begins with, as in .mjpeg.

    ``data`` must reach beyond the first one's end. A photograph that says so itself holds a second
    picture behind the first (a gain map, another eye's view) and is none.
    """
    if not data.startswith(_JPEG_BEGINS):
        return False
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in (_JPEG_START, _JPEG_END):
            at += 2 * (marker == _JPEG_END)
            return data[at:].lstrip(b"\0").startswith(_JPEG_BEGINS)
        if marker == _JPEG_PICTURES and data[at + 4 : at + 8] == b"MPF\0":
            return False
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _JPEG_SCAN:
            at = data.find(b"\xff", at)
            while 0 <= at < len(data) - 1 and data[at + 1] in _IN_SCAN:
                at = data.find(b"\xff", at + (1 if data[at + 1] == 0xFF else 2))
            if at < 0:
                return False
    return False


def _is_text(head: bytes) -> bool:
    if not head or b"\0" in head:
        return False
    try:
        text = head[:-4].decode() if len(head) > 64 else head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 8:
            return False
        text = head[: error.start].decode()
    return sum(c.isprintable() or c.isspace() for c in text) > 0.97 * len(text)
