"""The restrictions that a decoder's child process puts on itself before it reads a video.

They need neither root nor setuid programs nor namespaces, so they work in an unprivileged
container.

- Landlock: no path can be opened, no TCP port used, no process outside signaled.
- A seccomp filter: only the system calls that decoding needs; no new process, program, socket or
  file, no access to other processes, no executable memory.
- Resource limits: address space, file size, open files, processes, core dumps.

Where the kernel lacks a part, the others hold.

The driver of a GPU opens device files, maps memory and calls what no list could name, as long as it
runs. A process that decodes on one (`restrict_with_gpu`) can therefore read files, has no limit of
address space and no list of allowed calls. Landlock still keeps it from writing files, but for
devices, and from other processes; a filter refuses sockets, programs and processes.

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
from collections.abc import Sequence

LANDLOCK, SECCOMP, PARENT_DEATH = "Landlock", "seccomp", "parent-death signal"
READING, CALLS, MEMORY = "protection of files from reading", "list of allowed calls", "memory limit"
WITHOUT_FOR_GPU = (READING, CALLS, MEMORY)
"""Names of the parts that a process goes without because it decodes on a GPU."""

PARTS = (LANDLOCK, SECCOMP, PARENT_DEATH, *WITHOUT_FOR_GPU)
"""Names of the parts that a kernel may lack, or that a decoder goes without."""

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
_SET_OWNER = (8, 15)  # F_SETOWN and F_SETOWN_EX, which name a process to signal
_MMAP, _MPROTECT = (9, 222), (10, 226)
_SECCOMP = (317, 277)
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446

# Calls that a process with a GPU may not make: they reach what is outside of it.
_REFUSED: dict[str, tuple[int | None, int | None]] = {  # (x86-64, arm64)
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "io_uring_setup": (425, 425),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "open_by_handle_at": (304, 265),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
}
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # (column, AUDIT_ARCH)
_X32 = 0x40000000

# Landlock's rights over files.
_WRITE, _READ_FILE, _READ_FOLDER, _TRUNCATE, _DEVICE_CALLS = (1 << bit for bit in (1, 2, 3, 14, 15))
_PATH_BENEATH = 1
_CAPABILITY_VERSION = 0x20080522

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


def restrict_with_gpu(*, file_bytes: int) -> list[str]:
    """As `restrict`, for a process that decodes on a GPU; see the module."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, file_bytes)
    libc = _libc()
    if libc is None or libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return [*WITHOUT_FOR_GPU, LANDLOCK, SECCOMP]
    _drop_capabilities(libc)  # of root, which else may read the memory maps of other processes
    missing = list(WITHOUT_FOR_GPU)
    reading = _READ_FILE | _READ_FOLDER | _DEVICE_CALLS
    if not _landlock(libc, unhandled=reading, written=("/dev", "/proc/self")):
        missing.append(LANDLOCK)
    machine = _MACHINES.get(platform.machine())
    if machine is None or not _filtered(libc, gpu_filter_program(*machine, pid=os.getpid())):
        missing.append(SECCOMP)
    return missing


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


def _landlock(libc: ctypes.CDLL, *, unhandled: int = 0, written: Sequence[str] = ()) -> bool:
    """Handles every right that the kernel knows, and grants none.

    ``unhandled``: rights over files that the process keeps. ``written``: folders in which it may
    write files that exist.
    """
    version = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return False
    rights = 13 + (version >= 2) + (version >= 3) + (version >= 5)
    files = (1 << rights) - 1 & ~unhandled
    network = 0b11 if version >= 4 else 0
    scopes = 0b11 if version >= 6 else 0
    fields = (files, network, scopes)[: 1 + (version >= 4) + (version >= 6)]
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    size = ctypes.c_size_t(len(attributes))
    ruleset = libc.syscall(_LANDLOCK_CREATE, attributes, size, ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    for folder in written:
        _grant(libc, ruleset, folder, (_WRITE | _TRUNCATE) & files)
    failed = libc.syscall(_LANDLOCK_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)
    return not failed


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    libc.capset(header, bytes(24))


def _grant(libc: ctypes.CDLL, ruleset: int, folder: str, rights: int) -> None:
    beneath = os.open(folder, os.O_PATH)
    rule = struct.pack("=Qi", rights, beneath)
    libc.syscall(_LANDLOCK_ADD, ctypes.c_int(ruleset), _PATH_BENEATH, rule, ctypes.c_uint32(0))
    os.close(beneath)


def _seccomp(libc: ctypes.CDLL, *, threads: bool) -> bool:
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    return _filtered(libc, filter_program(*machine, pid=os.getpid(), threads=threads))


def _filtered(libc: ctypes.CDLL, program: bytes) -> bool:
    """Whether all threads of this process run under a filter from now on."""
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    set_filter, all_threads = 1, 1
    number = _SECCOMP[_MACHINES[platform.machine()][0]]
    return bool(libc.syscall(number, set_filter, ctypes.c_uint(all_threads), header) == 0)


def filter_program(column: int, architecture: int, *, pid: int, threads: bool) -> bytes:
    """The filter in the kernel's classic BPF, 8 bytes an instruction.

    ``column``: of the tables of calls above. Calls that it does not allow fail with EPERM, so that
    libraries can do without them; clone3 with ENOSYS, after which glibc calls clone, whose flags a
    filter can see. Calls of another architecture end the process.
    """
    code = _own_architecture(architecture)
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


def gpu_filter_program(column: int, architecture: int, *, pid: int) -> bytes:
    """The filter of a process with a GPU, which refuses some calls and allows all others;
    arguments as those of `filter_program`.
    """
    code = _own_architecture(architecture)
    for numbers in _REFUSED.values():
        number = numbers[column]
        if number is not None:
            code += _case(number, [_step(_RETURN, _RETURN_ERROR | _EPERM)])
    code += _case(_TGKILL[column], _if_equal(0, pid))
    code += _case(_PRLIMIT[column], _if_equal(0, 0))
    code += _case(_FCNTL[column], _if_none_of(1, _SET_OWNER))
    code += _case(_CLONE[column], _if_bit(0, _CLONE_THREAD))
    code += _case(_CLONE3[column], [_step(_RETURN, _RETURN_ERROR | _ENOSYS)])
    code.append(_step(_RETURN, _RETURN_ALLOW))
    return b"".join(code)


def _own_architecture(architecture: int) -> list[bytes]:
    """Ends the process at calls of another architecture, and loads the number of any other call."""
    return [
        _step(_LOAD, _ARCH_AT),
        _step(_JUMP_EQUAL, architecture, yes=1),
        _step(_RETURN, _RETURN_KILL),
        _step(_LOAD, _NUMBER_AT),
        _step(_JUMP_AT_LEAST, _X32, no=1),
        _step(_RETURN, _RETURN_KILL),
    ]


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


def _if_none_of(argument: int, values: Sequence[int]) -> list[bytes]:
    """Allows the call where the low half of an argument is none of ``values``."""
    deny = _step(_RETURN, _RETURN_ERROR | _EPERM)
    code = [_step(_LOAD, _ARGUMENTS_AT + 8 * argument)]
    for value in values:
        code += [_step(_JUMP_EQUAL, value, no=1), deny]
    return [*code, _step(_RETURN, _RETURN_ALLOW)]


def _if_bit(argument: int, bits: int, *, refuse: bool = False) -> list[bytes]:
    """Allows the call where an argument has one of ``bits``; with ``refuse`` where it has none."""
    allow, deny = _step(_RETURN, _RETURN_ALLOW), _step(_RETURN, _RETURN_ERROR | _EPERM)
    return [
        _step(_LOAD, _ARGUMENTS_AT + 8 * argument),
        _step(_JUMP_ANY_BIT, bits, yes=1),
        *((allow, deny) if refuse else (deny, allow)),
    ]
