"""Patterns in addresses: `shard-{000..999}.tar`, `{a,b}.mp4`, `*.tar`, `**/*.mp4`, as shells have.

An address that exists as it is written is no pattern; who asks checks that first.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from glob import iglob

from pipeline.errors import UsageError

_BRACES = re.compile(r"\{([^{}]*(?:,|\.\.)[^{}]*)\}")
_RANGE = re.compile(r"(-?\d+|[A-Za-z])\.\.(-?\d+|[A-Za-z])(?:\.\.(-?\d+))?")
_WILD = re.compile(r"[*?\[]")
_PATTERN = re.compile(rf"{_WILD.pattern}|{_BRACES.pattern}")
# In lists `?` and `[` are characters of names, as downloaders of videos write them.
_IN_LISTS = re.compile(rf"\*|{_BRACES.pattern}")
_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^\]]+\]")
_MOST = 1_000_000
_NAMED = 3


def is_pattern(text: str, *, in_list: bool = False) -> bool:
    """Whether an address may be a pattern."""
    return (_IN_LISTS if in_list else _PATTERN).search(text) is not None


def braces(text: str) -> list[str]:
    """What an address with braces stands for, in order and once; itself without braces.

    Raises:
        UsageError: it stands for more than a million.
    """
    done: dict[str, None] = {}
    pending = [text]
    while pending:
        current = pending.pop()
        found = _BRACES.search(current)
        if found is None:
            done[current] = None
            continue
        choices = _choices(found[1])
        pending += [
            current[: found.start()] + choice + current[found.end() :]
            for choice in reversed(choices)
        ]
        if len(done) + len(pending) > _MOST:
            raise UsageError(f"{text} stands for more than {_MOST:,} files; name fewer")
    return list(done)


def _choices(inner: str) -> list[str]:
    span = _RANGE.fullmatch(inner)
    if span is None:
        return inner.split(",")
    first, last = span[1], span[2]
    is_number = first.lstrip("-").isdigit()
    if is_number != last.lstrip("-").isdigit():
        raise UsageError(f"{{{inner}}} is a range of neither numbers nor letters")
    begin, end = (int(first), int(last)) if is_number else (ord(first), ord(last))
    step = abs(int(span[3] or 1)) or 1
    if abs(end - begin) // step >= _MOST:
        raise UsageError(f"{{{inner}}} stands for more than {_MOST:,} files; name fewer")
    numbers = range(begin, end + 1, step) if begin <= end else range(begin, end - 1, -step)
    if not is_number:
        return [chr(number) for number in numbers]
    is_padded = any(len(each) > 1 and each.lstrip("-")[0] == "0" for each in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    return [f"{number:0{width}d}" for number in numbers]


@dataclass
class Pattern:
    """An address that stands for several.

    Attributes:
        text: the address.
        base: the folder above its first part with a pattern.
        literals: what it stands for without `*`, `?` or `[`, in order.
        wild: what else it stands for.
    """

    text: str
    base: str = ""
    literals: dict[str, None] = field(default_factory=dict)
    wild: dict[str, re.Pattern[str]] = field(default_factory=dict)
    _found: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        found = _PATTERN.search(self.text)
        start = self.text[: found.start()] if found else self.text
        self.base = posixpath.dirname(start)
        for each in braces(self.text):
            plain = each.rstrip("/")
            if _WILD.search(plain):
                self.wild[plain] = _expression(plain)
            else:
                self.literals[plain] = None

    def below(self, address: str) -> str:
        """An address below the base."""
        return address[len(self.base) :].lstrip("/")

    def match(self, address: str) -> bool | None:
        """Whether the pattern names an address, or a folder above it, without a `*`.

        None if it names neither.
        """
        end = len(address)
        while end > 0:
            if address[:end] in self.literals:
                self._found.add(address[:end])
                return True
            end = address.rfind("/", 0, end)
        for each, expression in self.wild.items():
            if expression.match(address):
                self._found.add(each)
                return False
        return None

    def paths(self) -> Iterator[tuple[str, bool]]:
        """Local files and folders, each once; and whether the pattern names them without a `*`."""
        seen: set[str] = set()
        for each in (*self.literals, *self.wild):
            is_literal = each in self.literals
            if is_literal:
                found = [each] if os.path.lexists(each) else []
            else:
                found = sorted(iglob(each, recursive=True), key=lambda path: path.split("/"))
            for path in found:
                self._found.add(each)
                path = path.rstrip("/")
                if seen.isdisjoint(_and_above(path)):
                    seen.add(path)
                    yield path, is_literal

    def check_found(self) -> None:
        """Raises UsageError if something that the pattern stands for is not there."""
        missing = [each for each in (*self.literals, *self.wild) if each not in self._found]
        if not missing:
            return
        if missing == [self.text]:
            raise UsageError(f"nothing matches {self.text}")
        some = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
        count = len(self.literals) + len(self.wild)
        raise UsageError(f"{self.text}: {len(missing):,} of {count:,} are missing: {some}")


def _and_above(path: str) -> Iterator[str]:
    """A path and the folders above it."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _expression(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern with `*`; it matches files in a folder of that name."""
    expression, at = "", 0
    for found in _PARTS.finditer(pattern):
        expression += re.escape(pattern[at : found.start()])
        at, part = found.end(), found[0]
        is_first = pattern[: found.start()].endswith("/")
        visible = r"(?!\.)" if is_first else ""  # `*` names no hidden file
        if part == "**/":
            expression += r"(?:(?!\.)[^/]+/)*"
        elif part == "**":
            expression += f"{visible}.*"
        elif part in "*?":
            expression += visible + ("[^/]*" if part == "*" else "[^/]")
        else:
            inner = part[1:-1].replace("\\", r"\\")
            expression += visible + (f"[^/{inner[1:]}]" if inner[0] == "!" else f"[{inner}]")
    try:
        return re.compile(rf"{expression}{re.escape(pattern[at:])}(?:/|\Z)")
    except re.error:
        raise UsageError(f"{pattern} is no pattern: its brackets are wrong") from None
