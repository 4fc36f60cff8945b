"""Flags come from dataclass fields and a file; a command ends with one exit code and one line."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest

from pipeline.command_line import (
    JobParser,
    argument,
    exit_code,
    flag,
    flags_given,
    job_parser,
    options_of,
    run_job,
    share,
    words_given,
)
from pipeline.errors import RunError, UsageError

ROOT = Path(__file__).parents[2]
RESUME = "Run the same command again to resume."


@dataclass(frozen=True)
class Options:
    input: str | None = argument("what to read", None, metavar="INPUT")
    output: str | None = argument("where to write", None, metavar="OUTPUT")
    r: int | None = flag("tokens (default: the model's)", None)
    part: float = flag("1% or 0.01", 0.5, type=share)
    sizes: tuple[int, ...] = flag("sizes", (1, 2))
    kind: Literal["fast", "exact"] = flag("of work", "fast")
    retry_failed: bool = flag("again", False)
    compile: bool = flag("start at once", True, name="no-compile")
    graph: bool | None = flag("as a graph", None)
    decoders: str | None = flag("MIN:MAX", None)


@dataclass(frozen=True)
class Required:
    runs: tuple[str, ...] = argument("runs", metavar="RUN")
    out: Path = flag("a folder")


@pytest.fixture
def config(tmp_path):
    """Writes a file of flags."""

    def write(text, name="run.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def parse(*words, options=Options):
    parser = job_parser(options, "A job.")
    arguments = parser.parse_args([str(each) for each in words])
    return options_of(options, arguments), arguments, parser


def refusal(capsys, *words, options=Options):
    with pytest.raises(SystemExit) as ended:
        parse(*words, options=options)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err.strip()


def test_defaults_are_those_of_the_fields():
    assert parse()[0] == Options()


def test_flags_set_their_fields():
    words = ["in", "out", "--r", "8", "--part", "1%", "--sizes", "3", "4", "--kind", "exact"]
    words += ["--retry-failed", "--no-compile", "--no-graph"]
    expected = Options("in", "out", 8, 0.01, (3, 4), "exact", True, False, False)
    assert parse(*words)[0] == expected


def test_the_help_text_names_defaults_once(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "1% or 0.01 (default: 0.5)" in said
    assert "sizes (default: 1 2)" in said
    assert "tokens (default: the model's)" in said
    assert "again (default" not in said


def test_a_value_that_a_type_refuses_is_reported_with_the_types_reason(capsys):
    said = refusal(capsys, "--part", "some")
    assert said == "error: --part: a share is written 1% or 0.01; got 'some'; --help explains " + (
        "all flags"
    )


YAML = """
input: videos
output: s3://bucket/out
r: 8
part: 1%
sizes: [3, 4]
kind: exact
retry_failed: true
no-compile: true
graph: false
decoders: 2:8
"""


def test_a_file_sets_what_flags_set(config):
    words = ["videos", "s3://bucket/out", "--r", "8", "--part", "1%", "--sizes", "3", "4"]
    words += ["--kind", "exact", "--retry-failed", "--no-compile", "--no-graph"]
    words += ["--decoders", "2:8"]
    assert parse("--config", config(YAML))[0] == parse(*words)[0]
    assert parse(f"--config={config(YAML)}")[0] == parse(*words)[0]


def test_the_command_line_wins_over_the_file(config):
    words = ["--r", "9", "--sizes", "5", "--graph", "--part", "0.3"]
    found, _, _ = parse("other", "--config", config(YAML), *words)
    assert (found.input, found.output) == ("other", "s3://bucket/out")
    assert (found.r, found.sizes, found.graph, found.part) == (9, (5,), True, 0.3)
    assert (found.kind, found.decoders) == ("exact", "2:8")


def test_a_file_gives_what_is_required(config):
    found, _, _ = parse("--config", config("run: [a, b]\nout: c"), options=Required)
    assert found == Required(("a", "b"), Path("c"))


def test_empty_and_null_values_set_nothing(config):
    assert parse("--config", config("r:\nkind: null\nretry_failed: false"))[0] == Options()
    assert parse("--config", config(""))[0] == Options()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kindd: exact", "there is no flag 'kindd'; did you mean kind?"),
        ("retry: true", "there is no flag 'retry'; did you mean retry-failed?"),
        ("qqqqq: 1", "there is no flag 'qqqqq'; --help explains all flags"),
        ("config: x", "there is no flag 'config'; --help explains all flags"),
        ("r: half", "r: 'half' is not a whole number; --help explains all flags"),
        ("r: [1, 2]", "r: takes one value; got a list of 2; --help explains all flags"),
        ("r: {a: 1}", "r: takes a value or a list, not a mapping; --help explains all flags"),
        ("kind: exct", "kind: 'exct' is not one of fast, exact; did you mean exact?"),
        ("part: 1", "part: 1 may be meant as 1% or as 100%; write one of them; --help explains"),
        ("retry_failed: maybe", "retry_failed: takes true or false; got 'maybe'"),
        ("- r", "is no mapping of flags to values, such as `r: 64`"),
        ("a: [", "is no YAML: "),
    ],
)
def test_what_is_wrong_in_a_file_names_the_file_and_the_key(text, said, config, capsys):
    file = config(text)
    assert refusal(capsys, "--config", file).startswith(f"error: --config {file}: {said}")


def test_a_file_that_cannot_be_read_is_named(tmp_path, capsys):
    file = tmp_path / "none.yaml"
    assert f"--config {file}: cannot be read: No such file" in refusal(capsys, "--config", file)


def test_what_was_given_can_be_given_again(config):
    words = ["videos", "--r", "8", "--part", "1%", "--no-compile", "--no-graph", "--sizes", "5"]
    found, arguments, parser = parse(*words, "--config", config("decoders: 2:8\nkind: fast"))
    given = flags_given(parser, arguments)
    assert given == {
        "input": "videos",
        "r": "8",
        "part": "1%",
        "sizes": ["5"],
        "kind": "fast",
        "no-compile": True,
        "graph": False,
        "decoders": "2:8",
    }
    again = config(json.dumps({"version": 1, "flags": given}), "run.json")
    assert parse("--config", again)[0] == found
    assert parse("videos", *words_given(parser, arguments))[0] == found
    left = words_given(parser, arguments, left_out=("r", "sizes", "kind", "decoders", "graph"))
    assert left == ["--part", "1%", "--no-compile"]


def test_the_parts_of_a_job_have_a_file_each(config):
    parser = JobParser(config=False)
    part = parser.add_subparsers(dest="part").add_parser("one")
    part.add_argument("--r", type=int)
    arguments = parser.parse_args(["one", "--config", config("r: 3")])
    assert (arguments.r, arguments.given["r"]) == (3, ["3"])


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
    assert run_job(Options, lambda options: None, [], about="A job.") == 0
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


# The work waits for a signal; what runs at exit takes as long as Ray takes to end.
SIGNALED = """
import atexit, signal, sys, time
from pipeline.command_line import exit_code, leave

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
