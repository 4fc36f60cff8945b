"""Lines on stderr, and steps whose failure costs nothing else."""

import subprocess
import sys

import pytest

from pipeline.messages import best_effort, say


def fail(error):
    def step():
        raise error

    return step


def test_a_step_that_works_gives_what_it_makes_and_says_nothing(capsys):
    assert best_effort("The picture", lambda: 3, again="Try again.") == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("by\nzero"),
        MemoryError(),
        AssertionError(),
        SystemExit(3),
        OSError(28, ""),
    ],
)
def test_whatever_a_step_fails_on_is_one_line(error, capsys):
    assert best_effort("The picture", fail(error), again="Try again.") is None
    said = capsys.readouterr().err
    assert said.startswith(f"The picture could not be made: {type(error).__name__}: ")
    assert said.endswith(" Try again.\n")
    assert said.count("\n") == 1


def test_a_user_who_stops_the_command_is_obeyed():
    with pytest.raises(KeyboardInterrupt):
        best_effort("The picture", fail(KeyboardInterrupt()), again="Try again.")


@pytest.mark.parametrize("read", [0, 5])
def test_a_result_that_nobody_reads_fails_nothing(read):
    """As with `| head`: neither the line nor Python's own end complains."""
    program = "from pipeline.messages import tell\nfor _ in range(20000): tell('a result')"
    command = [sys.executable, "-c", program]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(read):
        job.stdout.readline()
    job.stdout.close()
    assert job.stderr.read() == b""
    assert job.wait() == 0


def test_a_closed_screen_costs_nothing(monkeypatch):
    class Closed:
        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            raise ValueError("I/O operation on closed file")

    monkeypatch.setattr(sys, "stderr", Closed())
    say("anything")
    assert best_effort("The picture", fail(RuntimeError()), again="Try again.") is None
