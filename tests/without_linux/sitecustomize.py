"""Hides from the project's code what Linux has and macOS lacks; libraries still find it.

A process whose PYTHONPATH begins with this folder imports this file at its start, and so do the
processes that it starts.
"""

import builtins
import fcntl
import io
import os
import platform
import resource
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = tuple(str(ROOT / room) + os.sep for room in ("sta", "workers", "pipeline", "jobs"))
HIDDEN = {
    os: (
        "sched_getaffinity",
        "memfd_create",
        "MFD_CLOEXEC",
        "MFD_ALLOW_SEALING",
        "posix_fallocate",
    ),
    resource: ("prlimit",),
    fcntl: ("F_ADD_SEALS",),
}


def _asked_by_product() -> bool:
    """Whether the code that called, not counting the standard library, is the project's."""
    frame = sys._getframe(2)
    library = os.path.dirname(os.__file__)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(PRODUCT):
            return True
        if not name.startswith((library, "<frozen")) or "site-packages" in name:
            return False
        frame = frame.f_back
    return False


def _hide(module, names) -> None:
    kept = {name: vars(module).pop(name) for name in names if name in vars(module)}

    def found(name):
        if name in kept and not _asked_by_product():
            return kept[name]
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    module.__getattr__ = found


def _without_proc(function):
    def opened(path, *arguments, **named):
        of_linux = isinstance(path, str | Path) and str(path).startswith(("/proc", "/sys/"))
        if of_linux and _asked_by_product():
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return function(path, *arguments, **named)

    return opened


def _system(system=platform.system):
    return "Darwin" if _asked_by_product() else system()


for module, names in HIDDEN.items():
    _hide(module, names)
for place, name in ((builtins, "open"), (io, "open"), (os, "open"), (os, "readlink")):
    setattr(place, name, _without_proc(getattr(place, name)))
platform.system = _system
