"""Videos as a short text: which ones a head was trained on, in run.json and in the head's file.

Of each video there are 32 bits of a digest, so that among 100 million other videos some 2 in a
hundred thousand are taken for one of 1,000: that is for counting, not for finding videos.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

_DIGEST_BYTES = 4
_DTYPE = np.dtype("<u4")

Digests = npt.NDArray[np.uint32]


def digests_of(video_ids: Iterable[str]) -> Digests:
    """(n,) digests of videos, in their order."""
    digests = (
        hashlib.blake2b(each.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()
        for each in video_ids
    )
    return np.frombuffer(b"".join(digests), _DTYPE).astype(np.uint32)


def packed(video_ids: Iterable[str]) -> str:
    """The text of videos, whatever their order; "" for none."""
    return base64.b64encode(np.unique(digests_of(video_ids)).astype(_DTYPE).tobytes()).decode()


def unpacked(text: str) -> Digests:
    """(n,) digests of the videos of a text, ascending.

    Raises:
        ValueError: `packed` did not make the text.
    """
    return np.frombuffer(base64.b64decode(text, validate=True), _DTYPE).astype(np.uint32)
