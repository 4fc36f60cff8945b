"""The lease: one command at a time, a dead one is followed, a displaced one learns of it."""

import json
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.run.lease import LeaseTimes, held
from pipeline.storage.location import Location
from tests.processes import eventually

# A living holder is recognized by its next beat, however late a busy machine lets it come; nobody
# waits this long. A silent one is waited for to the end.
FAST = LeaseTimes(beat_s=0.2, dead_s=120.0)
SILENT = LeaseTimes(beat_s=0.2, dead_s=2.0)


def never():
    raise AssertionError("nobody took the lease over")


def hold(root, *, lost=never, said=None, times=FAST):
    return held(root, lost=lost, say=(said if said is not None else []).append, times=times)


@pytest.fixture(params=["directory", "s3"])
def root(request, tmp_path):
    if request.param == "directory":
        return Location.of(str(tmp_path))
    client = request.getfixturevalue("s3")
    name = f"lease-{tmp_path.name}".replace("_", "-").lower()[:60].strip("-")
    client.create_bucket(Bucket=name)
    return Location.of(f"s3://{name}/run")


def leases(root):
    return root.child("_lease").files(".json")


def test_it_is_given_back_and_taken_again(root):
    for _ in range(2):
        with hold(root):
            assert len(leases(root)) == 1
        assert leases(root) == []


def test_it_is_given_back_when_the_work_fails(root):
    with pytest.raises(RuntimeError, match="work"), hold(root):
        raise RuntimeError("work")
    assert leases(root) == []


def test_a_second_command_is_refused_by_name_while_the_first_lives(root):
    with (
        hold(root),
        pytest.raises(UsageError, match="another command is working on this OUTPUT: process"),
        hold(root),
    ):
        raise AssertionError("both hold it")
    with hold(root):
        pass


@pytest.mark.slow
def test_of_many_commands_at_once_one_wins(root):
    start = threading.Barrier(6)
    refused = threading.Semaphore(0)
    inside = []

    def command():
        start.wait()
        try:
            with hold(root):
                inside.append(None)
                for _ in range(5):  # a slow one must find the holder alive, too
                    assert refused.acquire(timeout=900)
                return "won"
        except UsageError:
            refused.release()
            return "refused"

    with ThreadPoolExecutor(6) as pool:
        outcomes = [future.result() for future in [pool.submit(command) for _ in range(6)]]
    assert outcomes.count("won") == 1
    assert len(inside) == 1


def write_holder(root, generation, **changes):
    holder = {"token": "t", "host": "elsewhere", "boot": "b", "pid": 7, "beat": 3} | changes
    root.child("_lease").child(f"{generation:08d}.json").write_bytes(json.dumps(holder).encode())


@pytest.mark.slow
def test_a_silent_holder_on_another_machine_is_followed_after_a_wait_that_is_announced(root):
    write_holder(root, 4)
    said = []
    with hold(root, said=said, times=SILENT):
        assert [file.name for file in leases(root)] == ["00000005.json"]
    assert said == [
        "Process 7 on elsewhere was working on this OUTPUT; waiting up to 2 s for its heartbeat "
        "before taking over"
    ]


def test_a_killed_process_of_this_machine_is_followed_at_once(tmp_path):
    code = """
        import os, sys
        from pipeline.run.lease import held
        from pipeline.storage.location import Location
        with held(Location.of(sys.argv[1]), lost=print, say=print):
            os.kill(os.getpid(), 9)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], check=False)
    root = Location.of(str(tmp_path))
    assert len(leases(root)) == 1
    said = []
    with hold(root, said=said, times=LeaseTimes()):
        pass
    assert said == []


def test_a_holder_that_was_displaced_learns_of_it_and_leaves_the_new_one_alone(root):
    learned = threading.Event()
    with hold(root, lost=learned.set):
        mine = leases(root)[0]
        write_holder(root, 9)
        assert learned.wait(120)
        mine.delete()
    assert [file.name for file in leases(root)] == ["00000009.json"]


def test_a_holder_whose_number_was_taken_again_learns_of_it_and_leaves_the_new_one_alone(root):
    learned = threading.Event()
    with hold(root, lost=learned.set):
        write_holder(root, 1, token="another's")
        assert learned.wait(120)
    assert [file.name for file in leases(root)] == ["00000001.json"]


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"[]", b'{"other": 1}'])
def test_a_lease_that_says_nothing_sensible_is_followed_after_a_wait(tmp_path, content):
    root = Location.of(str(tmp_path))
    root.child("_lease").child("00000001.json").write_bytes(content)
    with hold(root, times=SILENT):
        assert [file.name for file in leases(root)] == ["00000002.json"]


def test_signs_of_life_replace_one_another_and_nothing_half_written_is_left(root, tmp_path):
    def beats():
        (lease,) = leases(root)
        return json.loads(lease.read_bytes())["beat"]

    with hold(root):
        assert eventually(lambda: beats() >= 3)
    assert leases(root) == []
    assert [path for path in Path(tmp_path).rglob("*") if path.is_file()] == []


def test_a_beat_that_storage_holds_up_does_not_bring_a_lease_back(tmp_path, monkeypatch):
    root, write = Location.of(str(tmp_path)), Location.write_bytes
    began, go_on, written = threading.Event(), threading.Event(), threading.Event()

    def held_up(place, content, **settings):
        began.set()
        go_on.wait(300)
        write(place, content, **settings)
        written.set()

    monkeypatch.setattr(Location, "write_bytes", held_up)
    with hold(root, times=LeaseTimes(beat_s=0.05, dead_s=0.2)):
        assert began.wait(300)
    go_on.set()
    assert written.wait(300)
    monkeypatch.undo()
    said = []
    with hold(root, said=said, times=SILENT):
        assert [file.name for file in leases(root)] == ["00000002.json"]
    assert "waiting up to 2 s for its heartbeat" in said[0]


def test_times_that_would_take_over_a_living_holder_are_refused():
    with pytest.raises(ValueError, match="at least three times"):
        LeaseTimes(beat_s=10, dead_s=20)
