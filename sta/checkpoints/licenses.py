"""The license of weights, as stated in their file, model card or configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sta.text import displayed

_KEYS = ("license", "licence")
_FRONT_MATTER = re.compile(r"\A\ufeff?---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)

_LONGEST_CARD = 2**20
_LONGEST_LICENSE = 200

# Known licenses of hub repositories, in case the model card cannot be read.
_KNOWN = {"MCG-NJU/videomae": "CC-BY-NC-4.0"}


def stated_license(
    metadata: Mapping[str, str],
    *,
    card: Path | None = None,
    config: Mapping[str, Any] | None = None,
    hub_id: str = "",
) -> str:
    """The license and where it is stated; "" if it is not stated.

    Args:
        metadata: of a safetensors file.
        card: README.md beside the weights.
        config: config.json beside the weights.
        hub_id: the hub repository that the weights come from.
    """
    for said, where in (
        (_of_mapping(metadata), "the file"),
        (_of_card(card) if card is not None else "", "README.md"),
        (_of_mapping(config or {}), "config.json"),
    ):
        if said:
            return f"{displayed(said, longest=_LONGEST_LICENSE)} (stated in {where})"
    for prefix, known in _KNOWN.items():
        if hub_id.startswith(prefix):
            return f"{known} (stated by the hub repository {hub_id})"
    return ""


def _of_mapping(content: Mapping[str, Any]) -> str:
    return next((said for key in _KEYS if isinstance(said := content.get(key), str) and said), "")


def _of_card(card: Path) -> str:
    """`license` of a model card's front matter, or `license_name` if `license` is "other"."""
    try:
        with card.open(encoding="utf-8", errors="replace") as file:
            found = _FRONT_MATTER.match(file.read(_LONGEST_CARD))
    except OSError:
        return ""
    values = _entries(found[1]) if found else {}
    said = values.get("license", "")
    return values.get("license_name", said) if said == "other" else said


def _entries(text: str) -> dict[str, str]:
    """The scalar entries of a block of YAML; the first item of a list."""
    values: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        if entry := re.match(r"([\w-]+):\s*(.*)", line):
            key, value = entry[1], entry[2]
        elif item := re.match(r"\s*-\s+(.*)", line):
            value = item[1]
        else:
            continue
        value = re.sub(r"\s+#.*", "", value).strip().strip("\"'")
        if value:
            values.setdefault(key, value)
    return values
