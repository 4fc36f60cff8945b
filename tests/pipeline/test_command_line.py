"""Each way in which a command ends has its exit code and says one thing."""

import pytest

from pipeline.command_line import exit_code
from pipeline.errors import RunError, UsageError

RESUME = "Run the same command again to resume."


@pytest.mark.parametrize(
    ("error", "resumes", "code", "said"),
    [
        (None, True, 0, ""),
        (UsageError("--r is\n  wrong"), True, 2, "error: --r is wrong\n"),
        (ValueError("no"), True, 2, "error: no\n"),
        (FileNotFoundError("there is no x"), True, 2, "error: there is no x\n"),
        (RunError("full", advice="Free space."), True, 1, "error: full\nFree space.\n"),
        (RunError("full", advice=""), True, 1, "error: full\n"),
        (RunError("nothing decoded"), False, 1, "error: nothing decoded\n"),
        (KeyboardInterrupt(), True, 1, f"\nStopped. {RESUME}\n"),
        (KeyboardInterrupt(), False, 1, "\nStopped.\n"),
    ],
)
def test_a_command_ends_with_one_code_and_one_message(error, resumes, code, said, capsys):
    def work():
        if error is not None:
            raise error

    assert exit_code(work, resumes=resumes) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", said)


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: 1 // 0)
