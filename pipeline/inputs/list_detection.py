"""Which files are lists of videos, by their names and first bytes."""

from __future__ import annotations

from pipeline.errors import UsageError
from pipeline.storage.location import Location
from workers.decoding.sniffing import TEXT, other_format

LIST_EXTENSIONS = (
    ".parquet", ".csv", ".tsv", ".txt", ".lst", ".list", ".jsonl", ".ndjson", ".json",
    ".csv.gz", ".tsv.gz", ".txt.gz", ".jsonl.gz", ".ndjson.gz", ".json.gz",
)  # fmt: skip
"""Extensions of lists. A file with another name is a list if its content is one."""

# Formats that hold tables or videos and cannot be read, by extension.
_UNSUPPORTED = {
    ".zip": "a ZIP archive; unpack it and name what is in it",
    ".7z": "a 7z archive; unpack it and name what is in it",
    ".rar": "a RAR archive; unpack it and name what is in it",
    ".xlsx": "an Excel workbook; save it as CSV",
    ".xls": "an Excel workbook; save it as CSV",
    ".ods": "a spreadsheet; save it as CSV",
    ".arrow": "an Arrow file; write it as Parquet",
    ".feather": "a Feather file; write it as Parquet",
    ".orc": "an ORC file; write it as Parquet",
    ".avro": "an Avro file; write it as Parquet",
    ".pkl": "a pickle; write it as Parquet or CSV",
    ".pickle": "a pickle; write it as Parquet or CSV",
    ".npy": "a NumPy array; write it as CSV",
    ".npz": "a NumPy archive; write it as CSV",
    ".h5": "an HDF5 file; write it as Parquet or CSV",
    ".hdf5": "an HDF5 file; write it as Parquet or CSV",
    ".lmdb": "an LMDB database; write it as Parquet or CSV",
    ".sqlite": "an SQLite database; write it as Parquet or CSV",
    ".db": "a database; write it as Parquet or CSV",
    ".xml": "an XML document; write it as CSV",
    ".yaml": "a YAML document; write it as CSV",
    ".yml": "a YAML document; write it as CSV",
    ".m3u": "a playlist; name the videos themselves",
    ".m3u8": "a playlist; name the videos themselves",
    ".mpd": "a playlist; name the videos themselves",
    ".bz2": "a bzip2 archive; unpack it, or pack it with gzip",
    ".xz": "an xz archive; unpack it, or pack it with gzip",
    ".zst": "a zstd archive; unpack it, or pack it with gzip",
}

GZIP = b"\x1f\x8b"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def is_list(location: Location, head: bytes) -> bool:
    """Whether a file without a video's extension is a list of videos.

    A file of unknown content counts as a video.

    Args:
        location: the file.
        head: its first bytes.

    Raises:
        UsageError: the file is of a known format that is neither a list nor a video.
    """
    name = location.name.lower()
    if name.endswith(LIST_EXTENSIONS) or head[:4] == b"PAR1":
        return True
    for extension, words in _UNSUPPORTED.items():
        if name.endswith(extension):
            raise UsageError(f"{location.uri} is {words}")
    if head[:2] in (GZIP, *UTF_16):
        return True
    other = other_format(head)
    if other not in (None, TEXT):
        raise UsageError(f"{location.uri} is {other}, neither a video nor a list of videos")
    return other == TEXT
