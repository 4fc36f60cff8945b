"""What only Linux has is used where it is missed on no other system, and wheels fit the platforms.

macOS itself is not tested: processes here run with what macOS lacks hidden from the project's code
(`tests/without_linux`).
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

from pipeline.run import lease
from tests.videos import write_video
from workers import machine
from workers.decoding import decord
from workers.decoding.memory_slots import MemorySlots

ROOT = Path(__file__).parents[1]
HIDING = ROOT / "tests" / "without_linux"

# What macOS lacks, and the modules that go on without.
LINUX_ONLY = {
    r"/proc\b|/sys/": {
        *("workers/machine.py", "workers/decoding/child.py", "workers/decoding/process.py"),
        *("workers/io/fetching.py", "pipeline/run/lease.py", "pipeline/planner/sample.py"),
        "pipeline/lab/benchmark/core_seconds.py",  # says that it needs Linux
        "workers/decoding/restrictions.py",  # the decoder `nvdec`, which needs Linux
    },
    r"sched_\w*affinity": {"workers/machine.py"},
    r"memfd_create|MFD_|F_ADD_SEALS": {"workers/io/fetching.py"},
    r"posix_fallocate": {"workers/decoding/shared_memory.py"},
    r"\bprctl|landlock_|seccomp\(": {"workers/decoding/restrictions.py"},
    r"\bprlimit\b": {"workers/decoding/process.py"},
    r"clock_getcpuclockid|clock_gettime\(": {
        *("pipeline/lab/benchmark/core_seconds.py", "pipeline/lab/benchmark/decoders.py"),
    },
    r'f"\\0': {"workers/decoding/memory_slots.py"},
    r"O_PATH": {"workers/decoding/restrictions.py"},
    r"SEQPACKET|SO_PEERCRED|MSG_NOSIGNAL|epoll|eventfd|inotify|pidfd|pipe2|O_TMPFILE": set(),
    r"posix_fadvise|copy_file_range|\bsplice\(|/dev/shm|AVPHYS|getrandom\(|os\.sendfile": set(),
}


def product():
    for room in ("sta", "workers", "pipeline", "jobs"):
        for path in (ROOT / room).rglob("*.py"):
            yield path.relative_to(ROOT).as_posix(), _code(path)


def _code(path):
    """The lines of a file without comments and the names in tables of system calls."""
    lines = path.read_text().splitlines()
    return "\n".join(
        line.partition("  #")[0]
        for line in lines
        if not re.match(r'\s*(#|"\w+": \(\d+, \d+\))', line)
    )


@pytest.mark.parametrize("names", LINUX_ONLY)
def test_what_only_linux_has_is_used_only_where_there_is_another_way(names):
    using = {path for path, code in product() if re.search(names, code)}
    assert using == LINUX_ONLY[names]


DECODE = """
import hashlib, sys
from workers.decoding import SandboxedDecoder, Unit
from workers.sampling import protocol
with SandboxedDecoder(protocol("videomae-k400", size=56)) as decoder:
    pixels = decoder.decode(Unit("unit", "video", sys.argv[1])).frames
print(hashlib.sha256(pixels.tobytes()).hexdigest(), *sorted(decoder.missing), sep="|")
"""


def without_linux():
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(HIDING), str(ROOT)])}


def output_of(*command, env=None):
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_macos_lacks_is_hidden_from_the_project_alone():
    asking = "import os, ray; from workers import machine; print(hasattr(os, 'memfd_create'))"
    asking += "; print(open('/proc/self/stat').read()[:1]); print(machine.cpu_model())"
    shown = output_of(sys.executable, "-c", asking, env=without_linux()).splitlines()
    assert shown == ["True", *shown[1:2], platform.machine()]


def test_a_decoder_gives_the_same_frames_without_what_only_linux_has(tmp_path):
    video = str(write_video(tmp_path / "a.mp4", frames=20))
    here, *missing_here = output_of(sys.executable, "-c", DECODE, video).split("|")
    there, *missing = output_of(sys.executable, "-c", DECODE, video, env=without_linux()).split("|")
    assert there == here
    assert set(missing) > set(missing_here)


@pytest.mark.slow
def test_a_job_labels_without_what_only_linux_has(tmp_path):
    videos = tmp_path / "in"
    videos.mkdir()
    for name in "ab":
        write_video(videos / f"{name}.mp4", frames=20)
    command = [sys.executable, "jobs/label_k400.py", str(videos), str(tmp_path / "out")]
    output_of(*command, "--checkpoint", "demo", "--views", "1x1", env=without_linux())
    assert json.loads((tmp_path / "out" / "run.json").read_text())["totals"]["ok"] == 2


def test_cores_and_memory_are_told_without_affinity_and_proc(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(Path, "read_text", _no_file)
    machine.machine_memory.cache_clear()
    try:
        assert machine.usable_cores() == os.cpu_count()
        assert machine.available_memory() == machine.machine_memory() // 2
        assert machine.machine_memory() >= 1 << 30
        assert machine.cpu_model() == platform.machine()
    finally:
        machine.machine_memory.cache_clear()


def test_without_proc_no_holder_of_a_lease_is_surely_dead(monkeypatch):
    monkeypatch.setattr(Path, "read_text", _no_file)
    assert not lease._Holder.this_process().is_surely_dead()
    assert lease._boot() != lease._boot()


def _no_file(path):
    raise FileNotFoundError(2, "No such file or directory", str(path))


def test_memory_slots_are_locked_files_where_sockets_have_no_abstract_names(monkeypatch, tmp_path):
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    slots = MemorySlots(1, "test")
    with slots.taken():
        (name,) = os.listdir(tmp_path)
        waiting = "from workers.decoding.memory_slots import _held_file\n"
        waiting += f"print(_held_file({name.removesuffix('.lock')!r}))"
        env = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
        assert output_of(sys.executable, "-c", waiting, env=env) == "None"
    assert output_of(sys.executable, "-c", waiting, env=env) != "None"


def test_the_decoder_decord_says_where_it_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    with pytest.raises(ImportError, match=r"Linux on x86-64 alone.*Darwin on arm64.*decoder pyav"):
        decord.require()


SCRIPTS = sysconfig.get_path("scripts")
# These have no wheels; their sources are Python alone, which pip builds without a compiler.
SOURCES_IN_PYTHON = ("fvcore", "iopath")
LINUX, ARM, MAC = "x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin"
TARGETS = [
    *((ARM, version) for version in ("3.11", "3.12", "3.13", "3.14")),
    *((LINUX, version) for version in ("3.11", "3.14")),
    (MAC, "3.13"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("target", "version"), TARGETS)
def test_wheels_of_all_dependencies_fit(target, version):
    resolver = shutil.which("uv", path=os.pathsep.join([SCRIPTS, os.defpath]))
    command = [resolver, "pip", "compile", "-q", "pyproject.toml", "-c", "constraints.txt"]
    command += ["--no-header", "--no-annotate", "--python-platform", target]
    command += ["--python-version", version, "--only-binary", ":all:"]
    command += [word for name in SOURCES_IN_PYTHON for word in ("--no-binary", name)]
    # PyAV's wheels are for macOS 14.
    env = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env, timeout=300)
    if re.search(r"[Ff]ailed to fetch|error sending request|dns error", done.stderr):
        pytest.skip(f"no package index can be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    found = dict(line.split("==") for line in done.stdout.split() if "==" in line)
    assert {"torch", "ray", "av", "pyarrow"} <= found.keys()
    assert ("decord" in found) == (target == LINUX)
