"""The header of a safetensors file, checked against the length of the file before it is loaded."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from sta.checkpoints.limits import MAX_JSON_BYTES, MAX_TENSORS
from sta.errors import CheckpointError

_METADATA = "__metadata__"


def check_header(path: Path, shown: str) -> None:
    """Raise CheckpointError where the header claims more than the file has, or is ambiguous.

    safetensors itself checks dtypes, shapes and gaps; it takes the last of two tensors of one name,
    and headers of up to 100 MB.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > size:
            raise _refused(shown, f"its header claims {length:,} bytes and the file has {size:,}")
        if length > MAX_JSON_BYTES:
            raise _refused(
                shown, f"its header has {length:,} bytes; allowed are {MAX_JSON_BYTES:,}"
            )
        content = file.read(length)
    try:
        header = json.loads(content, object_pairs_hook=lambda pairs: _without_twins(pairs, shown))
        header.pop(_METADATA, None)
        ends = [(name, int(entry["data_offsets"][1])) for name, entry in header.items()]
    except CheckpointError:
        raise
    except (ValueError, RecursionError, AttributeError, TypeError, LookupError):
        raise _refused(shown, "its header is no list of tensors") from None
    if len(ends) > MAX_TENSORS:
        raise _refused(shown, f"it has {len(ends):,} tensors; allowed are {MAX_TENSORS:,}")
    for name, end in ends:
        if not 0 <= end <= size - 8 - length:
            raise _refused(
                shown,
                f"{name} ends at byte {end:,} of the data and the file has {size - 8 - length:,}",
            )


def _refused(shown: str, why: str) -> CheckpointError:
    return CheckpointError(f"{shown} is no whole safetensors file: {why}")


def _without_twins(pairs: list[tuple[str, Any]], shown: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (twice, _), *_rest = Counter(name for name, _ in pairs).most_common(1)
        raise _refused(shown, f"its header names {twice} twice")
    return found
