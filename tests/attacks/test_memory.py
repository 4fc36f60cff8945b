"""A file that needs much memory gets it one at a time, and never more than the machine has."""

import resource
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests import videos
from workers.decoding import DecodedUnit, DecodeLimits, SandboxedDecoder, Unit
from workers.decoding.memory_slots import MemorySlots
from workers.failures import ErrorType, UnitFailure
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56)
MIB = 1 << 20
LIMITS = DecodeLimits(small_memory_bytes=48 * MIB, memory_bytes=512 * MIB)


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Unit:
    """Full color, 16 reference pictures, 50 times as much memory as bytes of the file."""
    path = videos.write_video(
        tmp_path_factory.mktemp("bomb") / "bomb.mp4",
        frames=24, height=1080, width=1920, pixel_format="yuv444p",
        options={"preset": "ultrafast", "x264-params": "ref=16", "crf": "40"},
    )  # fmt: skip
    return Unit("bomb", "bomb", str(path))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Unit:
    path = videos.write_video(tmp_path_factory.mktemp("good") / "good.mp4", frames=20)
    return Unit("good", "good", str(path))


def soft_limit(decoder: SandboxedDecoder) -> int:
    assert decoder.child_pid is not None
    return resource.prlimit(decoder.child_pid, resource.RLIMIT_AS)[0]


def test_a_large_picture_is_decoded_with_more_memory_which_is_taken_back(
    bomb: Unit, good: Unit
) -> None:
    with SandboxedDecoder(PROTOCOL, limits=LIMITS) as decoder:
        small = soft_limit(decoder)
        result = decoder.decode(bomb)
        assert isinstance(result, DecodedUnit)
        assert result.attempts == 1
        assert soft_limit(decoder) == small
        assert isinstance(decoder.decode(good), DecodedUnit)


def test_what_exceeds_the_large_limit_too_is_one_row(bomb: Unit, good: Unit) -> None:
    limits = DecodeLimits(small_memory_bytes=24 * MIB, memory_bytes=48 * MIB)
    with SandboxedDecoder(PROTOCOL, limits=limits) as decoder:
        result = decoder.decode(bomb)
        assert isinstance(result, UnitFailure)
        assert result.error_type is ErrorType.out_of_memory
        assert isinstance(decoder.decode(good), DecodedUnit)


def test_decoders_of_a_machine_have_much_memory_one_after_the_other(bomb: Unit) -> None:
    decoders = [SandboxedDecoder(PROTOCOL, limits=LIMITS) for _ in range(3)]
    small = [soft_limit(decoder) for decoder in decoders]
    results: list[object] = []
    threads = [
        threading.Thread(target=lambda d=decoder: results.append(d.decode(bomb)))
        for decoder in decoders
    ]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        limits = [soft_limit(decoder) for decoder in decoders]
        most = max(most, sum(now > usual for now, usual in zip(limits, small, strict=True)))
        time.sleep(0.01)
    for decoder in decoders:
        decoder.close()
    assert most == 1
    assert all(isinstance(result, DecodedUnit) for result in results)


@pytest.mark.drill
def test_a_job_whose_files_are_half_memory_bombs_has_a_row_for_each(
    bomb: Unit, good: Unit, random_checkpoint: Path, tmp_path: Path
) -> None:
    archive, output = tmp_path / "archive", tmp_path / "out"
    archive.mkdir()
    large = videos.write_video(
        tmp_path / "large.mp4", frames=18, height=2160, width=4096, pixel_format="yuv444p10le",
        options={"preset": "ultrafast", "x264-params": "ref=16", "crf": "40"},
    )  # fmt: skip
    for number in range(6):
        shutil.copy(large, archive / f"bomb{number}.mp4")
        shutil.copy(good.uri, archive / f"good{number}.mp4")
    job = [sys.executable, "jobs/label_k400.py", str(archive), str(output)]
    job += ["--checkpoint", str(random_checkpoint), "--views", "1x1", "--decoders", "2"]
    ended = subprocess.run(job, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    table = pq.read_table(output / "videos")
    reasons = dict(
        zip(*(table[name].to_pylist() for name in ("video_id", "error_type")), strict=True)
    )
    assert len(reasons) == 12
    assert all(reasons[f"good{number}.mp4"] is None for number in range(6))
    assert {reasons[f"bomb{number}.mp4"] for number in range(6)} <= {None, "out_of_memory"}


def test_a_bomb_that_hides_its_size_is_tried_again_with_more_memory(
    bomb: Unit, tmp_path: Path
) -> None:
    """Joined to a small video, its pictures come where no header tells of them."""
    small = videos.write_video(tmp_path / "small.ts", frames=20)
    large = videos.write_video(
        tmp_path / "large.ts", frames=24, height=1080, width=1920, pixel_format="yuv444p",
        options={"preset": "ultrafast", "x264-params": "ref=16", "crf": "40"},
    )  # fmt: skip
    joined = tmp_path / "joined.ts"
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    with SandboxedDecoder(PROTOCOL, limits=LIMITS) as decoder:
        result = decoder.decode(Unit("u", "v", str(joined)))
    assert isinstance(result, DecodedUnit), result
    assert result.attempts == 2


@pytest.mark.slow
def test_waiting_for_a_slot_is_no_time_of_the_video(bomb: Unit) -> None:
    limits = replace(LIMITS, seconds=1.0, most_seconds=1.0)  # the child's own alarm: after 7 s
    with SandboxedDecoder(PROTOCOL, limits=limits) as decoder:
        slot = MemorySlots(limits.large_slots).taken()
        slot.__enter__()
        freed = threading.Timer(9, slot.__exit__, (None, None, None))
        freed.start()
        result = decoder.decode(bomb)
        freed.join()
    assert not (isinstance(result, UnitFailure) and result.error_type is ErrorType.crashed), result
    assert result.attempts == 1
