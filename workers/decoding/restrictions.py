"""The restrictions that a decoder's child process puts on itself before it reads a video.

They need neither root nor setuid programs nor namespaces, so they work in an unprivileged
container.

- Landlock: no path can be opened, no TCP port used, no process outside signaled.
- A seccomp filter: only the system calls that decoding needs; no new process, program, socket or
  file, no access to other processes, no executable memory.
- Resource limits: address space, file size, open files, processes, core dumps.

Where the kernel lacks a part, the others hold.

Sources: Linux's Documentation/userspace-api/landlock.rst and seccomp_filter.rst; numbers of system
calls from asm/unistd_64.h (x86-64) and asm-generic/unistd.h (arm64).
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import platform
import resource
import signal
import struct

LANDLOCK, SECCOMP, PARENT_DEATH = "Landlock", "seccomp", "parent-death signal"
PARTS = (LANDLOCK, SECCOMP, PARENT_DEATH)
"""Names of the parts that a kernel may lack."""

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_OPEN_FILES = 64

# Calls that decoding makes, and that reach nothing outside of the process.
_ALLOWED: dict[str, tuple[int | None, int | None]] = {  # (x86-64, arm64)
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "newfstatat": (262, 79),  # glibc's fstat
    "poll": (7, None),
    "ppoll": (271, 73),
    "lseek": (8, 62),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "readv": (19, 65),
    "writev": (20, 66),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "recvfrom": (45, 207),
    "recvmsg": (47, 212),
    "ftruncate": (77, 46),
    "fallocate": (285, 47),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "times": (100, 153),
    "alarm": (37, None),
    "setitimer": (38, 103),
    "getrlimit": (97, 163),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "uname": (63, 160),
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "membarrier": (324, 283),
    "getrandom": (318, 278),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
# Calls that are allowed with some arguments.
_CLONE, _CLONE3 = (56, 220), (435, 435)
_TGKILL, _PRLIMIT = (234, 131), (302, 261)
_FCNTL = (72, 25)
_MMAP, _MPROTECT = (9, 222), (10, 226)
_SECCOMP = (317, 277)
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # (column, AUDIT_ARCH)
_X32 = 0x40000000

_EPERM, _ENOSYS = 1, 38
_RETURN_ALLOW, _RETURN_ERROR, _RETURN_KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_CLONE_THREAD = 0x00010000


def die_with_parent(parent: int) -> list[str]:
    """Lets the kernel kill this process when the thread that started it ends.

    ``parent``: the process id of the parent. Returns the parts that the kernel lacks.
    """
    libc = _libc()
    if libc is None or libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        return [PARENT_DEATH]
    if os.getppid() != parent:  # it ended before the kernel was asked
        os._exit(1)
    return []


def restrict(*, file_bytes: int, threads: bool) -> list[str]:
    """Restricts this process for the rest of its life; returns the parts that the kernel lacks.

    Whatever it needs must be imported and open. ``file_bytes``: the largest file that it may write.
    ``threads``: whether it may start threads.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, file_bytes)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if not threads and hasattr(resource, "RLIMIT_NPROC"):
        _limit(resource.RLIMIT_NPROC, 0)
    libc = _libc()
    if libc is None or libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return [LANDLOCK, SECCOMP]
    missing = [] if _landlock(libc) else [LANDLOCK]
    return missing if _seccomp(libc, threads=threads) else [*missing, SECCOMP]


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY or value < hard:
        resource.setrlimit(kind, (value, value))


def _libc() -> ctypes.CDLL | None:
    """The C library, for system calls that Python has no function for; None but on Linux."""
    if platform.system() != "Linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _landlock(libc: ctypes.CDLL) -> bool:
    """Handles every right that the kernel knows, and grants none."""
    version = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return False
    rights = 13 + (version >= 2) + (version >= 3) + (version >= 5)
    files = (1 << rights) - 1
    network = 0b11 if version >= 4 else 0
    scopes = 0b11 if version >= 6 else 0
    fields = (files, network, scopes)[: 1 + (version >= 4) + (version >= 6)]
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    size = ctypes.c_size_t(len(attributes))
    ruleset = libc.syscall(_LANDLOCK_CREATE, attributes, size, ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    failed = libc.syscall(_LANDLOCK_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)
    return not failed


def _seccomp(libc: ctypes.CDLL, *, threads: bool) -> bool:
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    program = filter_program(*machine, pid=os.getpid(), threads=threads)
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    set_filter, all_threads = 1, 1
    number = _SECCOMP[machine[0]]
    return bool(libc.syscall(number, set_filter, ctypes.c_uint(all_threads), header) == 0)


def filter_program(column: int, architecture: int, *, pid: int, threads: bool) -> bytes:
    """The filter in the kernel's classic BPF, 8 bytes an instruction.

    ``column``: of the tables of calls above. Calls that it does not allow fail with EPERM, so that
    libraries can do without them; clone3 with ENOSYS, after which glibc calls clone, whose flags a
    filter can see. Calls of another architecture end the process.
    """
    code = [
        _step(_LOAD, _ARCH_AT),
        _step(_JUMP_EQUAL, architecture, yes=1),
        _step(_RETURN, _RETURN_KILL),
        _step(_LOAD, _NUMBER_AT),
        _step(_JUMP_AT_LEAST, _X32, no=1),
        _step(_RETURN, _RETURN_KILL),
    ]
    for numbers in _ALLOWED.values():
        number = numbers[column]
        if number is not None:
            code += _case(number, [_step(_RETURN, _RETURN_ALLOW)])
    executable = _if_bit(2, mmap.PROT_EXEC, refuse=True)
    code += _case(_MMAP[column], executable)
    code += _case(_MPROTECT[column], executable)
    code += _case(_TGKILL[column], _if_equal(0, pid))  # abort()
    code += _case(_FCNTL[column], _if_equal(1, fcntl.F_DUPFD_CLOEXEC))  # Python's mmap
    code += _case(_PRLIMIT[column], _if_equal(0, 0, _if_equal(1, resource.RLIMIT_CPU)))
    if threads:
        code += _case(_CLONE[column], _if_bit(0, _CLONE_THREAD))
    code += _case(_CLONE3[column], [_step(_RETURN, _RETURN_ERROR | _ENOSYS)])
    code.append(_step(_RETURN, _RETURN_ERROR | _EPERM))
    return b"".join(code)


def _step(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """One instruction; ``yes`` and ``no``: instructions that a jump skips."""
    return struct.pack("=HBBI", code, yes, no, value)


def _case(number: int, body: list[bytes]) -> list[bytes]:
    """Runs ``body``, which returns, for one system call."""
    return [_step(_JUMP_EQUAL, number, no=len(body)), *body]


def _if_equal(argument: int, value: int, then: list[bytes] | None = None) -> list[bytes]:
    """Allows the call, or goes on to ``then``, where the low half of an argument is ``value``."""
    then = then or [_step(_RETURN, _RETURN_ALLOW)]
    return [
        _step(_LOAD, _ARGUMENTS_AT + 8 * argument),
        _step(_JUMP_EQUAL, value, yes=1),
        _step(_RETURN, _RETURN_ERROR | _EPERM),
        *then,
    ]


def _if_bit(argument: int, bits: int, *, refuse: bool = False) -> list[bytes]:
    """Allows the call where an argument has one of ``bits``; with ``refuse`` where it has none."""
    allow, deny = _step(_RETURN, _RETURN_ALLOW), _step(_RETURN, _RETURN_ERROR | _EPERM)
    return [
        _step(_LOAD, _ARGUMENTS_AT + 8 * argument),
        _step(_JUMP_ANY_BIT, bits, yes=1),
        *((allow, deny) if refuse else (deny, allow)),
    ]
