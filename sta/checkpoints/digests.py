"""SHA-256 of weight files: the fingerprint of a checkpoint, and the check of an expected one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from sta.errors import CheckpointError

_PREFIX = "sha256:"


def fingerprint(paths: Sequence[Path]) -> str:
    """ "sha256:" and the digest of the weight file.

    Of several files, the digest of what `sha256sum` prints for their sorted digests, one per line.
    """
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(digests) > 1:
        joined = "".join(f"{digest}\n" for digest in sorted(digests))
        digests = [hashlib.sha256(joined.encode()).hexdigest()]
    return f"{_PREFIX}{digests[0]}"


def parse_sha256(text: str) -> str:
    """The fingerprint that 64 hexadecimal digits mean, with or without "sha256:" before them.

    Raises:
        ValueError: the text is no such digest.
    """
    digest = text.strip().lower().removeprefix(_PREFIX)
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError(f"a SHA-256 has 64 hexadecimal digits, as sha256sum prints; got {text!r}")
    return f"{_PREFIX}{digest}"


def check_sha256(found: str, expected: str, shown: str) -> None:
    """Raise CheckpointError unless a fingerprint is the expected one; "sha256:" may be left out."""
    digest, wanted = (text.lower().removeprefix(_PREFIX) for text in (found, expected))
    if digest != wanted:
        raise CheckpointError(
            f"{shown} has the SHA-256 {digest}, not {wanted}: the weights were replaced, or other "
            "ones are named; none of them were loaded"
        )
