"""Limits of time follow the work, never beyond what the bytes of a file allow; a hang ends soon."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import recordings, videos
from workers.decoding import DecodedUnit, DecodeLimits, SandboxedDecoder, Unit, ipc, process
from workers.decoding.progress import DecodeWork, Progress
from workers.failures import ErrorType, UnitFailure
from workers.io.content import Source
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56)
LIMITS = DecodeLimits()
HD = 1920 * 1080


def seconds(**work: Any) -> float:
    return LIMITS.attempt_seconds(DecodeWork(**work))


def test_a_short_video_has_what_the_limit_says() -> None:
    assert seconds() == 60
    assert seconds(size=1_000_000, frames=300, pixels=340 * 256) == pytest.approx(60, rel=0.02)


def test_forty_minutes_that_must_be_decoded_have_time_for_it() -> None:
    assert seconds(size=550_000_000, frames=72_000, pixels=HD) > 60 + 40 * 60 / 2
    assert seconds(size=550_000_000, frames=72_000, pixels=640 * 360) > 60 + 60


def test_reading_alone_has_time_by_the_bytes() -> None:
    assert seconds(size=20_000_000_000) > 60 + 600


def test_a_small_file_gets_no_more_than_its_bytes_allow_whatever_it_claims() -> None:
    bomb = seconds(size=331_697, frames=4000, pixels=8192 * 4320)
    assert bomb < 90
    assert seconds(size=331_697, frames=10**9, pixels=8192 * 4320) == bomb
    assert seconds(size=331_697, frames=None, pixels=HD) == bomb


def test_no_video_has_more_than_the_most_unless_all_have() -> None:
    endless = DecodeWork(size=64 << 30, frames=10**9, pixels=HD)
    assert LIMITS.attempt_seconds(endless) == LIMITS.most_seconds
    assert DecodeLimits(seconds=7200).attempt_seconds(endless) == 7200


def test_a_decoder_tells_what_it_has_to_do_and_that_it_lives() -> None:
    told: list[DecodeWork] = []
    progress = Progress(told.append)
    progress.begin(size=1000)
    progress.expect(frames=10, pixels=64)
    progress.expect(frames=5, pixels=64)
    progress.alive()
    assert told == [DecodeWork(1000), DecodeWork(1000, 10, 64), DecodeWork(1000, 15, 64)]
    progress.expect(frames=None, pixels=64)
    assert told[-1] == DecodeWork(1000, None, 64)
    progress.begin(size=7)
    assert told[-1] == DecodeWork(7)


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit("u", "v", str(videos.write_video(tmp_path / "a.ts", frames=20)))


def message(**work: int | None) -> dict[str, Any]:
    return {"work": work}


class Scripted:
    """A child's messages, each some seconds after the last, by a clock that nobody waits for."""

    def __init__(self, *messages: tuple[float, dict[str, Any]]) -> None:
        self.now = 0.0
        self._messages: Iterator[tuple[float, dict[str, Any]]] = iter(messages)

    def receive(self, *, seconds: float | None = None) -> ipc.Message:
        after, message = next(self._messages, (1e9, {}))
        if seconds is not None and after > seconds:
            raise ipc.TimedOut
        self.now += after
        return message


def failure(
    unit: Unit,
    script: Scripted,
    monkeypatch: pytest.MonkeyPatch,
    limits: DecodeLimits = LIMITS,
    *,
    size: int = 1000,
) -> UnitFailure:
    """The failure of a file of ``size`` bytes whose decoder sends the messages of ``script``."""
    large = Path(unit.uri).with_name("large.ts")
    large.touch()
    os.truncate(large, size)
    with SandboxedDecoder(PROTOCOL, limits=limits) as decoder:
        with monkeypatch.context() as patch:
            patch.setattr(ipc.Channel, "receive", lambda _, **options: script.receive(**options))
            patch.setattr(process.time, "monotonic", lambda: script.now)
            result = decoder.decode(replace(unit, uri=str(large)))
        assert isinstance(result, UnitFailure)
        assert result.error_type is ErrorType.timeout
        assert isinstance(decoder.decode(unit), DecodedUnit)
    return result


def test_a_decoder_that_falls_silent_is_ended_long_before_a_long_limit(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = message(frames=72_000, pixels=HD)
    script = Scripted((1, long), *[(50, long)] * 3)
    result = failure(unit, script, monkeypatch, size=550_000_000)
    assert result.message == "the decoder made no progress for 60 s"
    assert script.now == 151


def test_a_decoder_that_lives_is_ended_at_the_limit_of_its_work(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = DecodeWork(2_000_000, 30_000, 640 * 360)
    script = Scripted(*[(1, message(frames=work.frames, pixels=work.pixels))] * 1000)
    result = failure(unit, script, monkeypatch, size=work.size)
    limit = LIMITS.attempt_seconds(work)
    assert limit - 1 <= script.now <= limit
    assert "2,000,000 bytes with 30,000 frames of 230,400 pixels" in result.message
    assert f"{limit:,.0f} s" in result.message
    assert "--decode-timeout" in result.message


def test_a_longer_limit_is_given_to_all_who_ask_for_it(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Scripted(*[(300, message(frames=0, pixels=0))] * 5)
    failure(unit, script, monkeypatch, DecodeLimits(seconds=900))
    assert script.now == 900


class SlowContent:
    """An object each of whose reads takes 50 s of the script's clock."""

    size, received, failure = 1000, 0, None

    def __init__(self, script: Scripted) -> None:
        self._script = script

    def read_at(self, offset: int, count: int) -> bytes:
        self._script.now += 50
        return b"x" * count


def test_the_time_of_the_store_counts_up_to_the_limit_of_fetching(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that a file has taken over may ask for bytes without end."""
    script = Scripted(*[(1, {"read": {"offset": 0, "count": 10}})] * 1000)
    limits = DecodeLimits(seconds=60, fetch_seconds=120)
    child = process.ChildProcess("pyav", PROTOCOL, limits, "exact")
    with monkeypatch.context() as patch:
        patch.setattr(ipc.Channel, "receive", lambda _, **options: script.receive(**options))
        patch.setattr(ipc.Channel, "send", lambda *args, **options: None)
        patch.setattr(process.time, "monotonic", lambda: script.now)
        with pytest.raises(ipc.TimedOut):
            child.ask("decode", unit, Source(SlowContent(script)), keep=False, large=False)
    child.end()
    assert 60 + 120 - 1 <= script.now <= 60 + 120 + 51


@pytest.mark.parametrize(("name", "whole"), [("a.wmv", True), ("a.ts", False)])
def test_the_work_of_a_video_is_told_before_it_is_done(
    name: str, whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = "wmv2" if name == "a.wmv" else "libx264"
    short = videos.write_video(tmp_path / name, frames=50, codec=codec, options={"g": "10"})
    path = recordings.lengthened(short, tmp_path / f"long_{name}", times=20)
    told: list[DecodeWork] = []
    plain = ipc.Channel.receive

    def noting(channel: ipc.Channel, **options: Any) -> ipc.Message:
        message = plain(channel, **options)
        if "work" in message:
            told.append(DecodeWork(**message["work"]))
        return message

    with SandboxedDecoder(PROTOCOL) as decoder:
        monkeypatch.setattr(ipc.Channel, "receive", noting)
        result = decoder.decode(Unit("u", "v", str(path)))
    assert isinstance(result, DecodedUnit)
    assert result.frame_count == 1000
    assert told[0].frames == 0
    assert told[-1].frames is not None
    assert told[-1].frames == 1000 if whole else 0 < told[-1].frames < 700
    assert told[-1].pixels == 128 * 96
