"""Decode children die again and again: each unit still has one outcome, and the actor goes on."""

import os
import random
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.inputs.manifest import MANIFEST_SCHEMA
from tests import videos
from tests.processes import decoders, eventually, is_running, killing
from workers.decode_actor import DecodeActor
from workers.decoding import ipc, sandbox
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56)


def manifest(paths: list[Path]) -> pa.Table:
    rows = [
        {"unit_id": f"{number}", "video_id": path.name, "uri": str(path)}
        for number, path in enumerate(paths)
    ]
    return pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)


def rows(tables: list[pa.Table]) -> list[dict[str, Any]]:
    return pa.concat_tables(tables).drop_columns(["frames"]).to_pylist()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_an_input_that_kills_its_decoder_each_time_is_one_row_and_the_next_ones_are_fine(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = videos.write_video(tmp_path / "good.mp4", frames=20)
    killer = videos.write_video(tmp_path / "killer.mp4", frames=21)
    actor = DecodeActor(PROTOCOL)
    deaths = []
    send = ipc.Channel.send

    def die_of_the_killer(channel: ipc.Channel, message: dict[str, Any], **options: Any) -> None:
        if message["size"] == killer.stat().st_size:
            (child,) = decoders()
            os.kill(child, number)
            deaths.append(child)
            raise BrokenPipeError
        send(channel, message, **options)

    monkeypatch.setattr(ipc.Channel, "send", die_of_the_killer)
    done = rows(list(actor(manifest([good, killer, good, killer, good]))))
    assert [row["status"] for row in done] == ["ok", "failed", "ok", "failed", "ok"]
    for row in done[1::2]:
        assert row["error_type"] == "crashed"
        assert row["attempts"] == 2
        assert number.name in row["error"]
    assert [row["attempts"] for row in done[::2]] == [1, 1, 1]
    assert len(set(deaths)) == 4
    del actor
    assert decoders() == []


def test_a_decoder_that_is_killed_while_it_starts_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = videos.write_video(tmp_path / "good.mp4", frames=20)
    receive = ipc.Channel.receive
    to_kill = 3

    def kill_before_the_first_word(channel: ipc.Channel, **options: Any) -> ipc.Message:
        nonlocal to_kill
        if to_kill:
            to_kill -= 1
            assert eventually(decoders)
            (child,) = decoders()
            os.kill(child, signal.SIGKILL)
        return receive(channel, **options)

    monkeypatch.setattr(ipc.Channel, "receive", kill_before_the_first_word)
    monkeypatch.setattr(sandbox, "_START_PAUSES_S", (0.0, 0.0, 0.0))
    actor = DecodeActor(PROTOCOL)
    assert to_kill == 0

    for killed, expected in ((3, (None, 1)), (4, (None, 2)), (8, ("crashed", 2))):
        to_kill = killed
        (idle,) = decoders()
        os.kill(idle, signal.SIGKILL)
        assert eventually(lambda idle=idle: not is_running(idle))
        (row,) = rows(list(actor(manifest([good]))))
        assert (row["error_type"], row["attempts"]) == expected

    to_kill = 4
    with pytest.raises(RuntimeError, match="could not start.*SIGKILL"):
        DecodeActor(PROTOCOL)


def test_killed_at_random_moments_every_unit_has_one_outcome_and_nobody_is_left(
    tmp_path: Path,
) -> None:
    paths = [
        videos.write_video(tmp_path / f"{name}", frames=60 + 20 * at, options={"bf": "2"})
        for at, name in enumerate(["a.mp4", "b.mkv", "c.ts", "d.mp4"])
    ]
    # A name for each unit: a file that ends three decoders is not tried again.
    names = [tmp_path / f"{at}{path.suffix}" for at, path in enumerate(25 * paths)]
    for name, path in zip(names, 25 * paths, strict=True):
        name.hardlink_to(path)
    units = manifest(names)
    chance = random.Random(0)
    pauses = (chance.uniform(0.0, 0.25) for _ in range(20))
    actor = DecodeActor(PROTOCOL)
    with killing(lambda: decoders(), pauses) as killed:
        done = rows(list(actor(units)))
    assert [row["unit_id"] for row in done] == units["unit_id"].to_pylist()
    assert len(set(killed)) >= 3
    for row in done:
        if row["status"] == "failed":
            assert (row["error_type"], row["attempts"]) == ("crashed", 2)
            assert "SIGKILL" in row["error"]
        else:
            assert row["attempts"] in (1, 2)
    assert any(row["status"] == "ok" for row in done)
    again = rows(list(actor(units.slice(0, 4))))
    assert [row["status"] for row in again] == ["ok"] * 4
    del actor
    assert decoders() == []
