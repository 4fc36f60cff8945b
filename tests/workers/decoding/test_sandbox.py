"""Whatever happens to the decoder's process costs one row at most, and leaves nothing behind."""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import videos
from tests.processes import descriptors, eventually, is_running, opened_since
from workers.decoding import DecodedUnit, DecodeLimits, Measured, SandboxedDecoder, Unit, ipc
from workers.failures import ErrorType, UnitFailure
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Unit:
    path = videos.write_video(tmp_path_factory.mktemp("videos") / "a.mp4", frames=20)
    return Unit("unit", "video", str(path))


@pytest.fixture
def decoder() -> Iterator[SandboxedDecoder]:
    with SandboxedDecoder(PROTOCOL) as sandbox:
        yield sandbox


def child_of(decoder: SandboxedDecoder) -> int:
    assert decoder.child_pid is not None
    return decoder.child_pid


def test_a_hang_ends_at_the_limit_and_the_next_unit_decodes(unit: Unit) -> None:
    with SandboxedDecoder(PROTOCOL, limits=DecodeLimits(seconds=4)) as decoder:
        hung = child_of(decoder)
        os.kill(hung, signal.SIGSTOP)
        result = decoder.decode(unit)
        assert isinstance(result, UnitFailure)
        assert result.error_type is ErrorType.timeout
        assert "4 s" in result.message
        assert result.attempts == 1
        assert not is_running(hung)
        assert isinstance(decoder.decode(unit), DecodedUnit)


def asking_then_killing(child: int) -> Callable[..., None]:
    """A `Channel.send` whose message ``child`` gets, is stopped before it answers, and dies of."""
    send = ipc.Channel.send

    def ask(channel: ipc.Channel, message: ipc.Message, **options: Any) -> None:
        if is_running(child):
            os.kill(child, signal.SIGSTOP)
            send(channel, message, **options)
            os.kill(child, signal.SIGKILL)
        else:
            send(channel, message, **options)

    return ask


def test_a_child_that_dies_while_decoding_gets_one_more_try(
    unit: Unit, decoder: SandboxedDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = child_of(decoder)
    with monkeypatch.context() as patch:
        patch.setattr(ipc.Channel, "send", asking_then_killing(first))
        result = decoder.decode(unit)
    assert isinstance(result, DecodedUnit)
    assert result.attempts == 2
    assert child_of(decoder) != first


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_child_that_dies_twice_is_a_row_that_names_the_signal(
    number: signal.Signals, unit: Unit, decoder: SandboxedDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(channel: ipc.Channel, message: object, **options: object) -> None:
        os.kill(child_of(decoder), number)
        raise BrokenPipeError

    with monkeypatch.context() as patch:
        patch.setattr(ipc.Channel, "send", die)
        result = decoder.decode(unit)
    assert isinstance(result, UnitFailure)
    assert result.error_type is ErrorType.crashed
    assert number.name in result.message
    assert result.attempts == 2
    assert isinstance(decoder.decode(unit), DecodedUnit)


def test_a_child_that_died_between_units_costs_nothing(
    unit: Unit, decoder: SandboxedDecoder
) -> None:
    idle = child_of(decoder)
    os.kill(idle, signal.SIGKILL)
    assert eventually(lambda: not is_running(idle))
    result = decoder.decode(unit)
    assert isinstance(result, DecodedUnit)
    assert result.attempts == 1


def test_a_unit_that_needs_too_much_memory_is_a_row_and_the_next_one_decodes(
    unit: Unit, tmp_path: Path
) -> None:
    large = videos.write_video(
        tmp_path / "large.mp4", frames=8, height=1080, width=1920, options={"preset": "ultrafast"}
    )
    with SandboxedDecoder(PROTOCOL, limits=DecodeLimits(memory_bytes=12 << 20)) as decoder:
        result = decoder.decode(Unit("unit", "video", str(large)))
        assert isinstance(result, UnitFailure), "12 MiB should not suffice"
        assert result.error_type is ErrorType.out_of_memory, result
        assert isinstance(decoder.decode(unit), DecodedUnit)


def test_a_child_is_replaced_after_its_number_of_units(unit: Unit) -> None:
    with SandboxedDecoder(PROTOCOL, limits=DecodeLimits(videos_per_child=2)) as decoder:
        pids = [child_of(decoder) for _ in range(5) if decoder.decode(unit)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def test_a_child_that_grew_too_large_is_replaced(unit: Unit) -> None:
    with SandboxedDecoder(PROTOCOL, limits=DecodeLimits(rss_bytes=1)) as decoder:
        pids = [child_of(decoder) for _ in range(2) if decoder.decode(unit)]
    assert pids[0] != pids[1]


def test_closing_leaves_no_process_no_descriptor_and_no_file(
    unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = descriptors()
    decoder = SandboxedDecoder(PROTOCOL)
    pid = child_of(decoder)
    assert isinstance(decoder.decode(unit), DecodedUnit)
    decoder.close()
    decoder.close()
    assert not is_running(pid)
    assert opened_since(before) == []
    assert list(tmp_path.iterdir()) == []


def test_a_closed_decoder_says_so(unit: Unit) -> None:
    decoder = SandboxedDecoder(PROTOCOL)
    decoder.close()
    with pytest.raises(ValueError, match="closed"):
        decoder.decode(unit)


PARENT = """
import os, signal, sys
from workers.decoding import SandboxedDecoder, Unit
from workers.sampling import protocol
decoder = SandboxedDecoder(protocol("videomae-k400", size=56))
print(decoder.child_pid, flush=True)
if sys.argv[1] == "busy":
    decoder.decode(Unit("u", "v", sys.argv[2]))
signal.pause()
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_child_does_not_outlive_a_killed_parent(state: str, tmp_path: Path) -> None:
    long = videos.write_video(
        tmp_path / "long.avi", frames=1500, codec="mpeg4", height=144, width=176
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, state, str(long)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_running(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert eventually(lambda: not is_running(child))


def test_the_child_carries_neither_torch_nor_ray(unit: Unit, decoder: SandboxedDecoder) -> None:
    assert isinstance(decoder.decode(unit), DecodedUnit)
    maps = Path(f"/proc/{child_of(decoder)}/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    loaded = maps.read_text()
    assert "libavcodec" in loaded
    assert "libtorch" not in loaded
    assert "_raylet" not in loaded


def test_it_starts_from_any_directory_and_ignores_modules_lying_there(
    unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "av.py").write_text("raise SystemExit('not the library')")
    monkeypatch.chdir(tmp_path)
    with SandboxedDecoder(PROTOCOL) as decoder:
        assert isinstance(decoder.decode(unit), DecodedUnit)


def test_a_child_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="exit code 1"):
        SandboxedDecoder(PROTOCOL)


def test_an_unknown_decoder_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="pyav, decord"):
        SandboxedDecoder(PROTOCOL, decoder="ffmpeg")


def test_limits_must_be_positive() -> None:
    with pytest.raises(ValueError, match="seconds must be positive"):
        DecodeLimits(seconds=0)


@pytest.mark.slow
def test_a_hang_in_measuring_ends_at_the_limit_and_a_death_gets_one_more_try(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SandboxedDecoder(PROTOCOL, limits=DecodeLimits(seconds=4)) as decoder:
        os.kill(child_of(decoder), signal.SIGSTOP)
        late = decoder.measure(unit)
        assert isinstance(late, UnitFailure)
        assert late.error_type is ErrorType.timeout
        first = child_of_next(decoder, unit)
        monkeypatch.setattr(ipc.Channel, "send", asking_then_killing(first))
        assert isinstance(decoder.measure(unit), Measured)
        assert child_of(decoder) != first


def child_of_next(decoder: SandboxedDecoder, unit: Unit) -> int:
    assert isinstance(decoder.measure(unit), Measured)
    return child_of(decoder)


def test_results_travel_between_processes(unit: Unit, decoder: SandboxedDecoder) -> None:
    result = decoder.decode(unit)
    assert isinstance(result, DecodedUnit)
    copy = pickle.loads(pickle.dumps(result))
    assert np.array_equal(copy.frames, result.frames)
    assert copy.unit == unit
    failure = UnitFailure(ErrorType.timeout, "too\nslow", attempts=2, bytes_read=7, decode_ms=1.5)
    back = pickle.loads(pickle.dumps(failure))
    assert vars(back) == vars(failure)
    assert str(back) == "timeout: too slow"


def test_every_kind_of_failure_stands_for_itself_as_text() -> None:
    for kind in ErrorType:
        assert isinstance(kind.retryable, bool)
        assert ErrorType(str(kind)) is kind


@pytest.mark.parametrize("name", ["missing.mp4", "empty.mp4", "folder"])
def test_a_decoder_is_freed_with_its_last_reference_whatever_it_failed_on(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    decoder = SandboxedDecoder(PROTOCOL)
    child, failure = child_of(decoder), decoder.decode(Unit("u", "v", str(tmp_path / name)))
    assert isinstance(failure, UnitFailure)
    del decoder
    assert not is_running(child)
