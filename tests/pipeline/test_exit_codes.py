"""How a command ends: its exit code, its message, and signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import RunError, UsageError
from pipeline.exit_codes import exit_code

ROOT = Path(__file__).parents[2]
RESUME = "Run the same command again to resume."


@pytest.mark.parametrize(
    ("error", "settings", "code", "said"),
    [
        (None, {}, 0, ""),
        (UsageError("--r is\n  wrong"), {}, 2, "error: --r is wrong\n"),
        (ValueError("no"), {}, 2, "error: no\n"),
        (FileNotFoundError("there is no x"), {}, 2, "error: there is no x\n"),
        (FileNotFoundError("there is no x"), {"reads_runs": True}, 1, "error: there is no x\n"),
        (pa.ArrowInvalid("no\nfile"), {"reads_runs": True}, 1, "error: no file\n"),
        (UsageError("no run"), {"reads_runs": True}, 2, "error: no run\n"),
        (RunError("full", advice="Free space."), {}, 1, "error: full\nFree space.\n"),
        (RunError("full", advice=""), {}, 1, "error: full\n"),
        (RunError("nothing decoded"), {"resumes": False}, 1, "error: nothing decoded\n"),
        (KeyboardInterrupt(), {}, 1, f"\nStopped. {RESUME}\n"),
        (KeyboardInterrupt(), {"resumes": False}, 1, "\nStopped.\n"),
    ],
)
def test_a_command_ends_with_one_code_and_one_message(error, settings, code, said, capsys):
    def work():
        if error is not None:
            raise error

    assert exit_code(work, **settings) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", said)


def test_the_work_may_say_its_exit_code():
    assert exit_code(lambda: 1) == 1


def test_an_import_that_ctrl_c_cut_short_is_a_stop(capsys):
    def work():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise ImportError("half an extension") from None

    assert exit_code(work, resumes=False) == 1
    assert capsys.readouterr().err == "\nStopped.\n"


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: 1 // 0)


def test_signals_are_handled_as_before_when_the_work_is_done():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    assert exit_code(lambda: None) == 0
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


# The work waits for a signal; what runs at exit takes as long as Ray takes to end.
SIGNALED = """
import atexit, signal, sys, time
from pipeline.exit_codes import exit_code, leave

def slow_end():
    print("ending", flush=True)
    time.sleep(1.5)

def work():
    atexit.register(slow_end)
    print("working", flush=True)
    if sys.argv[1] == "work":
        time.sleep(60)
    if sys.argv[1] == "deferred":
        signal.getsignal(signal.SIGINT)(signal.SIGINT, None)  # as Ray does

leave(exit_code(work, resumes=False))
"""


def signaled(when, word, sent, *, ignored=False):
    """Exit code and stderr of a process that is sent a signal when it has printed a word."""
    handler = signal.SIG_IGN if ignored else signal.SIG_DFL
    with subprocess.Popen(
        [sys.executable, "-c", SIGNALED, when],
        # Whatever the shell that started the tests ignores.
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        for line in process.stdout:
            if line.strip() == word:
                time.sleep(0.2)
                process.send_signal(sent)
                break
        _, said = process.communicate(timeout=60)
        return process.returncode, said


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_work_stops_it(sent):
    assert signaled("work", "working", sent) == (1, "\nStopped.\n")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_work_changes_nothing(sent):
    assert signaled("nothing", "ending", sent) == (0, "")


def test_a_sigint_that_the_shell_ignores_can_be_passed_on():
    assert signaled("deferred", "ending", signal.SIGINT, ignored=True) == (0, "")
