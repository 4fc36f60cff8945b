"""Slots are shared by all processes of a machine, and come back when their holder dies."""

import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

from tests.processes import eventually
from workers.decoding.memory_slots import MemorySlots

ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import signal, sys
from workers.decoding.memory_slots import MemorySlots
with MemorySlots(1, sys.argv[1]).taken():
    print("held", flush=True)
    signal.pause()
"""


def test_a_slot_is_waited_for_and_comes_back_when_its_holder_is_killed() -> None:
    name = uuid.uuid4().hex
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, name], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    got = threading.Event()

    def take() -> None:
        with MemorySlots(1, name).taken():
            got.set()

    waiting = threading.Thread(target=take)
    waiting.start()
    assert not got.wait(0.5)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert eventually(got.is_set, seconds=10)
    waiting.join()


def test_as_many_as_there_are_slots_hold_one_at_a_time() -> None:
    name = uuid.uuid4().hex
    slots = MemorySlots(2, name)
    with slots.taken(), slots.taken():
        got = threading.Event()

        def take() -> None:
            with slots.taken():
                got.set()

        third = threading.Thread(target=take)
        third.start()
        assert not got.wait(0.3)
    third.join(timeout=10)
    assert got.is_set()
