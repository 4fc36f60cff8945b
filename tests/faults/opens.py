"""Counting how often Python programs open each file of a folder, in whatever process.

A module that Python imports at its start, from PYTHONPATH, writes each open into a log.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

_HOOK = """\
import os
import sys

_folder = {folder!r}
_log = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)


def _note(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(_folder):
        os.write(_log, os.path.basename(arguments[0]).encode() + b"\\n")


sys.addaudithook(_note)
"""


class Opens:
    """Counts opens in ``folder`` by the processes that have ``hook`` in their PYTHONPATH."""

    def __init__(self, folder: Path, hook: Path) -> None:
        hook.mkdir()
        self.hook = hook
        self._log = hook / "log"
        self._log.touch()
        self._taken = 0
        source = _HOOK.format(folder=f"{folder}/", log=str(self._log))
        (hook / "sitecustomize.py").write_text(source)

    def take(self) -> Counter[str]:
        """The counts since the last ``take``, by file name."""
        names = self._log.read_text().splitlines()
        new, self._taken = names[self._taken :], len(names)
        return Counter(new)
