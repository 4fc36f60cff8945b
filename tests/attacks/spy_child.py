"""A decoder's child process that an attacker has taken over: it tries all it can, and tells.

It stands in for `workers.decoding.child`, restricted in the same way. The answer to a request is a
failure whose message lists what was not refused.
"""

import contextlib
import ctypes
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from workers.decoding import child, ipc

PARENT = os.getppid()
LIBC = ctypes.CDLL(None, use_errno=True)
ALLOWED_VARIABLES = {
    "PYTHONPATH", "PATH", "MALLOC_ARENA_MAX", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS",
    "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH",
}  # fmt: skip


def system_call(number: int, *arguments: Any) -> None:
    ctypes.set_errno(0)
    if LIBC.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def grandchild() -> None:
    if os.fork() == 0:
        os._exit(0)


def foreign_process(number: int) -> None:
    buffer = ctypes.create_string_buffer(64)
    system_call(number, PARENT, ctypes.byref(buffer), 1, ctypes.byref(buffer), 1, 0)


def pass_on_a_descriptor() -> None:
    """A program with the parent's rights would have to come from somewhere."""
    os.execv(sys.executable, [sys.executable, "-c", "pass"])


def executable_memory() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


def raise_the_memory_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def attacks(target: str) -> dict[str, Callable[[], Any]]:
    """All of x86-64; on another machine numbers of calls differ, and the tests skip."""
    return {
        "reads a file": lambda: open("/etc/passwd"),
        "reads its own program": lambda: open(sys.executable, "rb"),
        "lists a folder": lambda: os.listdir("/"),
        "reads its parent's environment": lambda: open(f"/proc/{PARENT}/environ"),
        "opens its parent's memory": lambda: open(f"/proc/{PARENT}/mem", "rb"),
        "opens its own memory": lambda: open("/proc/self/mem", "r+b"),
        "writes into OUTPUT": lambda: open(target, "w"),
        "makes a folder": lambda: os.mkdir(f"{target}-folder"),
        "renames": lambda: os.rename(target, f"{target}-2"),
        "removes": lambda: os.unlink(target),
        "changes its folder": lambda: os.chdir("/"),
        "opens a TCP socket": lambda: socket.socket(socket.AF_INET),
        "opens an IPv6 socket": lambda: socket.socket(socket.AF_INET6),
        "opens a Unix socket": lambda: socket.socket(socket.AF_UNIX),
        "opens a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW),
        "opens a netlink socket": lambda: socket.socket(socket.AF_NETLINK),
        "makes a pair of sockets": socket.socketpair,
        "forks": grandchild,
        "starts a program": lambda: subprocess.Popen(["/bin/true"]),
        "becomes a program": pass_on_a_descriptor,
        "starts a thread": threading.Thread(target=int).start,
        "leaves its process group": os.setsid,
        "signals its parent": lambda: os.kill(PARENT, signal.SIGKILL),
        "signals its group": lambda: os.killpg(os.getpgrp(), signal.SIGCONT),
        "signals a thread of its parent": lambda: system_call(234, PARENT, PARENT, 9),
        "queues a signal": lambda: system_call(129, PARENT, 9, None),
        "traces its parent": lambda: system_call(101, 16, PARENT, 0, 0),
        "reads its parent's memory": lambda: foreign_process(310),
        "writes its parent's memory": lambda: foreign_process(311),
        "takes a parent's descriptor": lambda: system_call(434, PARENT, 0),
        "gets a process's descriptor": lambda: system_call(438, 0, 0, 0),
        "loads a BPF program": lambda: system_call(321, 0, None, 0),
        "sets up io_uring": lambda: system_call(425, 1, None),
        "counts events": lambda: system_call(298, None, 0, -1, -1, 0),
        "enters namespaces": lambda: system_call(272, 0x10000000),
        "mounts": lambda: system_call(165, b"none", b"/tmp", b"tmpfs", 0, None),
        "keeps keys": lambda: system_call(250, 0, -3, 1),
        "handles page faults": lambda: system_call(323, 0),
        "makes a file in memory": lambda: os.memfd_create("x"),
        "opens a device": lambda: open("/dev/null"),
        "maps executable memory": executable_memory,
        "raises its memory limit": raise_the_memory_limit,
        "raises its file limit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)),
        "changes its parent's limits": lambda: resource.prlimit(PARENT, 0, (1, 1)),
        "sends its parent's signals": lambda: system_call(72, 0, 8, PARENT),
        "becomes another user": lambda: os.setuid(65534),
        "changes root": lambda: os.chroot("/"),
        "controls a terminal": lambda: system_call(16, 2, 0x5412, b"x"),
    }  # fmt: skip


def spy(_worker: child.Worker, request: ipc.Message) -> ipc.Message:
    target = os.pread(request["file"], request["size"], 0).decode().strip()
    done = [f"knows {name}" for name in set(os.environ) - ALLOWED_VARIABLES]
    for name, attack in attacks(target).items():
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            attack()
            done.append(name)
    message = "; ".join(done) or "nothing"
    return {
        "failure": {"type": "internal", "message": message},
        "bytes_read": 0,
        "decode_ms": 0,
    }


if __name__ == "__main__":
    child.Worker.answer = spy  # type: ignore[method-assign]
    child.main()
