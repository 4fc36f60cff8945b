"""The column ``part`` of a list: where a video lies within the uri of its row.

Runs write it in their manifest, see `workers.io.parts`. In a list anyone may have written it, so
only what a listing of this program can have found is taken, and the index of a gzip file, which is
an address to open, is left out: `shards` makes it anew.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.inputs.list_row import shown
from workers.failures import ErrorType, UnitFailure
from workers.io.frame_folder import FrameFolder, is_folder
from workers.io.gzip_part import GzipRange
from workers.io.parts import ByteRange, parse, refusal, refused

# No file has more bytes, rows or frames, and every reader of files can count so far.
_MOST = 1 << 62
_LONGEST = 4096

# What a listing refuses lies in the content of a file, and is the same in every run.
_REFUSED = frozenset(set(ErrorType) - {ErrorType.deferred})

_WRITTEN = (
    "bytes:OFFSET+SIZE, gzip:OFFSET+SIZE, parquet:ROW_GROUP/ROW/COLUMN, lance:VERSION/ROW/COLUMN "
    "or frames:FPS/COUNT"
)


def listed_part(text: str) -> str:
    """The part that a row names, without the index of a gzip file.

    Args:
        text: the cell.

    Raises:
        ValueError: it is none; nothing was opened.
    """
    try:
        return _checked(text)
    except (UnitFailure, ValueError):
        raise ValueError(
            f"the part is {shown(text[:_LONGEST])}, which names no place in a file; runs write "
            f"{_WRITTEN}; rename the column if part means something else"
        ) from None


def part_size(part: str) -> int | None:
    """Bytes of the video that a part is; None where the part does not tell."""
    if is_folder(part) or refusal(part) is not None:
        return None
    where = parse(part)
    return where.size if isinstance(where, ByteRange | GzipRange) else None


def _checked(text: str) -> str:
    if len(text) > _LONGEST:
        raise ValueError(f"it has more than {_LONGEST:,} characters")
    if (failure := refusal(text)) is not None:
        if failure.error_type not in _REFUSED:
            raise ValueError(f"{failure.error_type} is no reason of a listing")
        return refused(failure.error_type, failure.message)
    if is_folder(text):
        return str(FrameFolder.of(text))
    where = parse(text)
    if isinstance(where, GzipRange):
        where = replace(where, index="")
    numbers = [each for each in vars(where).values() if isinstance(each, int)]
    if sum(numbers) > _MOST:
        raise ValueError("it lies beyond the end of every file")
    return str(where)
