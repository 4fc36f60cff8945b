"""Code that runs in a decoder's process reaches nothing: no file, network, process or secret."""

import os
import platform
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import videos
from tests.processes import eventually, is_running
from workers.decoding import DecodedUnit, DecodeLimits, SandboxedDecoder, Unit, process
from workers.decoding.restrictions import LANDLOCK, SECCOMP, WITHOUT_FOR_GPU
from workers.failures import UnitFailure
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56)

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the spy's system calls have x86-64's numbers"
)


@pytest.fixture
def spying(monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxedDecoder]:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a key of the object store")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a token of the cluster")
    monkeypatch.setattr(process, "_MODULE", "tests.attacks.spy_child")
    with SandboxedDecoder(PROTOCOL) as decoder:
        if decoder.missing:
            pytest.skip(f"the kernel lacks {decoder.missing}")
        yield decoder


def test_a_decoder_that_was_taken_over_gets_nothing(
    spying: SandboxedDecoder, tmp_path: Path
) -> None:
    target, video = tmp_path / "rows.parquet", tmp_path / "a.mp4"
    target.write_text("rows")
    video.write_text(str(target))
    result = spying.decode(Unit("u", "v", str(video)))
    assert isinstance(result, UnitFailure)
    assert result.message == "nothing"
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.mp4", "rows.parquet"]
    assert target.read_text() == "rows"


OPEN_TO_A_GPUS_DRIVER = {
    *("reads a file", "reads its own program", "lists a folder", "changes its folder"),
    *("opens its own memory", "opens a device", "makes a file in memory", "starts a thread"),
    *("leaves its process group", "maps executable memory"),
    *("raises its memory limit", "raises its file limit", "controls a terminal"),
}


def test_a_decoder_with_a_gpu_that_was_taken_over_can_read_files_and_reaches_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a key of the object store")
    monkeypatch.setattr(process, "_MODULE", "tests.attacks.gpu_spy_child")
    target, video = tmp_path / "rows.parquet", tmp_path / "a.mp4"
    target.write_text("rows")
    video.write_text(str(target))
    with SandboxedDecoder(PROTOCOL, decoder="nvdec") as decoder:
        if set(decoder.missing) != set(WITHOUT_FOR_GPU):
            pytest.skip(f"the kernel lacks {decoder.missing}")
        result = decoder.decode(Unit("u", "v", str(video)))
    assert isinstance(result, UnitFailure)
    assert set(result.message.split("; ")) <= OPEN_TO_A_GPUS_DRIVER
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.mp4", "rows.parquet"]
    assert target.read_text() == "rows"


def test_it_holds_its_channel_its_frames_and_the_video_and_no_other_descriptor(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)), SandboxedDecoder(PROTOCOL) as decoder:
        folder = Path(f"/proc/{decoder.child_pid}/fd")
        held = sorted(os.readlink(path).split(":")[0] for path in folder.iterdir())
    assert held == ["/dev/null", "/dev/null", "/memfd", "/memfd", "socket"]


def test_its_input_cannot_be_changed_through_the_descriptor_that_it_gets(tmp_path: Path) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=20)
    with SandboxedDecoder(PROTOCOL) as decoder:
        decoder.decode(Unit("u", "v", str(path), 0.0, 0.5))
        flags = [
            int(line.split()[1], 8)
            for info in Path(f"/proc/{decoder.child_pid}/fdinfo").iterdir()
            for line in info.read_text().splitlines()
            if line.startswith("flags:")
            and os.readlink(info.parent.parent / "fd" / info.name) == str(path)
        ]
    assert [flag & os.O_ACCMODE for flag in flags] == [os.O_RDONLY]


def test_it_ends_with_its_parent_however_busy_it_is(tmp_path: Path) -> None:
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        decoder = SandboxedDecoder(PROTOCOL)
        assert decoder.child_pid is not None
        os.kill(decoder.child_pid, signal.SIGSTOP)  # it could not end by itself
        os.write(write, str(decoder.child_pid).encode())
        signal.pause()
    child = int(os.read(read, 100))
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    os.close(read)
    os.close(write)
    assert eventually(lambda: not is_running(child), seconds=10)


def test_required_parts_that_the_kernel_lacks_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.replies, "started", lambda message: [LANDLOCK, SECCOMP])
    with pytest.raises(RuntimeError, match=r"--require-sandbox.*Landlock and seccomp"):
        SandboxedDecoder(PROTOCOL, limits=DecodeLimits(require_sandbox=True))
    with SandboxedDecoder(PROTOCOL) as decoder:
        assert decoder.missing == (LANDLOCK, SECCOMP)


def test_frames_are_the_same_with_and_without_the_restrictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = videos.write_video(tmp_path / "a.mp4", frames=40, options={"bf": "2"})
    results = []
    for module in ("workers.decoding.child", "tests.attacks.free_child"):
        monkeypatch.setattr(process, "_MODULE", module)
        with SandboxedDecoder(PROTOCOL) as decoder:
            results.append(decoder.decode(Unit("u", "v", str(path))))
    inside, outside = results
    assert isinstance(inside, DecodedUnit)
    assert isinstance(outside, DecodedUnit)
    assert (inside.frames == outside.frames).all()
