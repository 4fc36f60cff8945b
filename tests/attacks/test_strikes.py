"""A file that ends its decoder or its actor three times is a row, and not tried again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
import ray

from pipeline.execution.file_history import SharedHistory
from pipeline.inputs.manifest import MANIFEST_SCHEMA
from workers import decode_actor
from workers.decode_actor import DecodeActor
from workers.decoding import DecodeLimits, Unit
from workers.failures import ErrorType, UnitFailure
from workers.file_history import STRIKES, FileCost, FileHistory
from workers.sampling import protocol

WHOLE = protocol("videomae-k400", size=32)
FULL, QUICK = DecodeLimits(), DecodeLimits(quick=True)


def manifest(*rows: tuple[str, str, float | None]) -> pa.Table:
    """Rows of (unit_id, uri, start_s)."""
    columns = {"unit_id": 0, "video_id": 1, "uri": 1, "start_s": 2}
    found = [
        {name: row[place] for name, place in columns.items()}
        | {"end_s": None if row[2] is None else row[2] + 1, "size_bytes": 1000}
        for row in rows
    ]
    return pa.Table.from_pylist(found, schema=MANIFEST_SCHEMA)


@dataclass
class Scripted:
    """A decoder that fails as its script says."""

    error_type: ErrorType
    attempts: int = 1
    decode_ms: float = 0.0
    tried: list[Unit] = field(default_factory=list)

    def decode(self, unit: Unit) -> UnitFailure:
        self.tried.append(unit)
        return UnitFailure(
            self.error_type, "scripted", attempts=self.attempts, decode_ms=self.decode_ms
        )


def outcomes(
    decoder: Scripted,
    table: pa.Table,
    monkeypatch: pytest.MonkeyPatch,
    *,
    limits: DecodeLimits = FULL,
    files: FileHistory | None = None,
) -> list[str]:
    monkeypatch.setattr(decode_actor, "SandboxedDecoder", lambda *given, **named: decoder)
    actor = DecodeActor(WHOLE, limits=limits, files=files)
    return [row["error_type"] for made in actor(table) for row in made.to_pylist()]


def segments(count: int) -> pa.Table:
    return manifest(*((f"u{n}", "long.mp4", float(n)) for n in range(count)))


@pytest.mark.parametrize("reason", ["crashed", "timeout", "out_of_memory"])
def test_a_recording_that_ends_three_decoders_is_not_tried_again(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Scripted(ErrorType(reason))
    found = outcomes(decoder, segments(8), monkeypatch)
    assert found == [reason] * STRIKES + ["crashed"] * 5
    assert len(decoder.tried) == STRIKES


def test_the_second_attempt_of_a_crash_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Scripted(ErrorType.crashed, attempts=2)
    assert outcomes(decoder, segments(4), monkeypatch) == ["crashed"] * 4
    assert len(decoder.tried) == 2


def test_other_failures_are_tried_in_every_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Scripted(ErrorType.corrupt)
    assert outcomes(decoder, segments(8), monkeypatch) == ["corrupt"] * 8
    assert len(decoder.tried) == 8


def test_a_slow_recording_is_left_for_the_end_after_three_short_attempts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoder, files = Scripted(ErrorType.timeout), FileHistory()
    found = outcomes(decoder, segments(8), monkeypatch, limits=QUICK, files=files)
    assert found == ["deferred"] * 8
    assert len(decoder.tried) == STRIKES
    decoder.error_type = ErrorType.corrupt
    assert outcomes(decoder, segments(8), monkeypatch, files=files) == ["corrupt"] * 8


def test_a_child_cannot_put_off_the_end_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Scripted(ErrorType.deferred)
    assert outcomes(decoder, segments(1), monkeypatch) == ["crashed"]


def test_a_recording_has_a_budget_of_cpu_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten limits of one unit, and two seconds for each segment."""
    decoder = Scripted(ErrorType.corrupt, decode_ms=50_000)
    found = outcomes(decoder, segments(20), monkeypatch)
    assert found == ["corrupt"] * 13 + ["too_large"] * 7
    decoder = Scripted(ErrorType.corrupt, decode_ms=1900)
    assert set(outcomes(decoder, segments(500), monkeypatch)) == {"corrupt"}


def test_a_unit_that_begins_again_without_an_end_has_ended_its_actor() -> None:
    history = FileHistory()
    assert history.begin("u", "a") == FileCost()
    assert history.begin("u", "a") == FileCost(ended=1)
    history.end("u", "a", FileCost())
    assert history.begin("u", "a") == FileCost(ended=1)
    assert history.begin("other", "b") == FileCost()


def test_nothing_is_kept_of_files_that_gave_no_trouble() -> None:
    history = FileHistory()
    for number in range(1000):
        history.begin(f"u{number}", f"{number}.mp4")
        history.end(f"u{number}", f"{number}.mp4", FileCost())
    assert not history._costs
    assert not history._open


class Bombed:
    """A decoder whose actor is killed by files named bomb, as by Ray's memory monitor."""

    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def decode(self, unit: Unit) -> UnitFailure:
        if "bomb" in unit.uri:
            os.kill(os.getpid(), signal.SIGKILL)
        return UnitFailure(ErrorType.corrupt, "tried")


class BombedActor(DecodeActor):
    """An actor with that decoder."""

    def __init__(self, files: SharedHistory) -> None:
        decode_actor.SandboxedDecoder = Bombed  # type: ignore[misc, assignment]
        super().__init__(WHOLE, files=files)


@pytest.fixture
def local_ray() -> Iterator[None]:
    ray.shutdown()  # a Ray that another file's tests left
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.slow
def test_a_file_that_ends_its_actor_three_times_is_a_row(local_ray: None) -> None:
    names = ["a", "bomb1", "b", "c", "bomb2", "d"]
    table = manifest(*((name, f"{name}.mp4", None) for name in names))
    labeled = (
        ray.data.from_arrow(table)
        .repartition(3)
        .map_batches(
            BombedActor,
            fn_constructor_args=(SharedHistory.start(),),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=1),
            num_cpus=0.5,
        )
        .take_all()
    )
    found = {row["unit_id"]: (row["error_type"], row["error"]) for row in labeled}
    assert len(labeled) == len(names)
    for name in names:
        reason, words = found[name]
        assert reason == ("crashed" if "bomb" in name else "corrupt")
        assert ("ended its decoder or its actor 3 times" in words) == ("bomb" in name)
