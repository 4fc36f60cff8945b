"""Control characters in names, labels and errors reach no terminal and no file for people."""

import ast
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.command_line import JobParser
from pipeline.errors import RunError, UsageError
from pipeline.exit_codes import exit_code
from pipeline.formatting import json_text, text_table
from pipeline.job_commands import command_line
from pipeline.labeling.next_steps import OtherRun, open_command
from pipeline.labeling.nothing_labeled import check_anything_labeled
from pipeline.labeling.summary import summary
from pipeline.messages import best_effort, say, tell
from pipeline.reports.cost.compare import compare
from pipeline.reports.cost.writing import screen, write
from pipeline.reports.run import write_run_report
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from pipeline.verify.verify import report, verify
from sta.text import displayed, printable
from tests.pipeline.synthetic_runs import Made, unit, write_run
from workers.failures import ErrorType, UnitFailure

ROOT = Path(__file__).parents[2]
# A forged line, a window title, a cleared screen, text from right to left, and other ends of lines.
CODES = "\n\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\u2028\x85\r\x7f\u2066"
FORGED = "\nerror: all is lost\n"
NAME = f"a{FORGED}{CODES}"


def is_clean(text):
    """Whether a terminal shows the text as it is, line by line."""
    return all(printable(line) == line for line in text.split("\n"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run over videos with such names, labels and errors."""
    made = Made(r=8, failing=(f"{NAME}1.mp4",))
    rows = [unit(f"{NAME}{number}.mp4", made, second=1 + number) for number in range(6)]
    for row in rows:
        row["ground_truth"] = f"truth {NAME}"
        if row.get("error"):
            row["error"] = f"no {NAME}"
    place = write_run(tmp_path_factory.mktemp("hostile") / "out", rows, made)
    return RunDirectory(Location.of(place))


def test_what_is_escaped_is_what_a_terminal_takes_for_its_own_and_nothing_else():
    assert printable("a\nb\x1b[2J\u202e\x9b\udce9") == "a\\nb\\x1b[2J\\u202e\\x9b\\udce9"
    for name in ("Kamera Süd/上午 🎬.mp4", "1.5\N{NO-BREAK SPACE}s", "it's <b>$HOME</b> `x` | \\n"):
        assert printable(name) == name


def test_only_one_module_prints():
    """A new print or write to a stream belongs into `messages`, which cleans what it prints."""
    found = set()
    for file in (*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("jobs/*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in ("print", "sys.stdout.write", "sys.stderr.write", "sys.exit"):
                found.add((str(file.relative_to(ROOT)), called))
    assert found == {("pipeline/messages.py", "print"), ("pipeline/exit_codes.py", "sys.exit")}


def raising(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    "speak",
    [
        lambda: say(NAME),
        lambda: tell(NAME),
        lambda: best_effort("The page", raising(OSError(NAME)), again=NAME),
        lambda: exit_code(raising(UsageError(NAME))),
        lambda: exit_code(raising(RunError(NAME, advice=NAME))),
        lambda: exit_code(raising(OSError(NAME)), reads_runs=True),
        lambda: JobParser(prog="job").parse_args([NAME]),
        lambda: JobParser(prog="job").parse_args([f"--{CODES}"]),
    ],
)
def test_whatever_a_command_says_is_clean(speak, capsys):
    with contextlib.suppress(SystemExit):
        speak()
    said = capsys.readouterr()
    assert "\\x1b[2J" in said.out + said.err
    assert is_clean(said.out + said.err)


def test_a_failure_of_a_unit_is_one_clean_line():
    message = UnitFailure(ErrorType.corrupt, f"moov {NAME}").message
    assert is_clean(message)
    assert "\n" not in message
    assert len(UnitFailure(ErrorType.corrupt, CODES * 10_000).message) <= 300


def test_tables_hold_the_exact_name(run):
    (file, *_) = run.videos.files(".parquet")
    assert f"{NAME}0.mp4" in pq.read_table(file.uri)["video_id"].to_pylist()


def test_the_summary_is_clean_and_no_name_breaks_its_lines(run):
    text = summary("k400", run, run.load(), other=OtherRun([], "in", "elsewhere"))
    assert is_clean(text)
    assert "\\x1b[2J" in text
    assert not any(line.startswith("error:") for line in text.splitlines())


def test_a_run_without_labels_says_why_on_one_clean_line(tmp_path):
    made = Made(failing=(f"{NAME}.mp4",))
    rows = [unit(f"{NAME}.mp4", made, second=1) | {"duration_s": 1.0}]
    directory = RunDirectory(Location.of(write_run(tmp_path / "out", rows, made)))
    with pytest.raises(RunError) as refused:
        check_anything_labeled(directory, directory.load())
    assert printable(str(refused.value)) == str(refused.value)


def test_problems_that_a_check_finds_are_clean(run, tmp_path):
    rows = pq.read_table(run.videos.files(".parquet")[0].uri)
    pq.write_table(rows.slice(1), run.videos.files(".parquet")[0].uri)
    try:
        text = report(verify(run))
    finally:
        pq.write_table(rows, run.videos.files(".parquet")[0].uri)
    assert "\\x1b[2J" in text
    assert is_clean(text)
    assert not any(line.startswith("error:") for line in text.splitlines())


def test_pages_and_files_for_people_are_clean(run, tmp_path):
    write_run_report(run, gallery=1, out=Location(str(tmp_path)))
    rows = [unit(f"{NAME}{number}.mp4", Made(), second=1 + number) for number in range(6)]
    other = write_run(tmp_path / "other", rows, Made())
    found = compare([other, run.root.uri])
    write(found, tmp_path / "cost")
    files = [*tmp_path.glob("report.*"), *(tmp_path / "cost").iterdir(), Path(run.run_json.uri)]
    assert len(files) == 6
    for text in (screen(found), *(file.read_text() for file in files)):
        assert is_clean(text)
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["failures"]["corrupt"]["examples"][0]["video_id"] == f"{NAME}1.mp4"
    page, markdown = ((tmp_path / name).read_text() for name in ("report.html", "cost/report.md"))
    assert "\\x1b[2J" in page
    assert not any(line.startswith("error:") for line in (page + markdown).splitlines())


def test_json_for_people_is_read_as_what_was_written():
    assert json.loads(json_text({NAME: [NAME, "Süd 🎬"]})) == {NAME: [NAME, "Süd 🎬"]}
    assert is_clean(json_text({NAME: NAME}))
    assert "Süd 🎬" in json_text(["Süd 🎬"])


def test_no_cell_breaks_a_table():
    lines = text_table([("video", "ms"), (NAME, "1")])
    assert len(lines) == 2
    assert lines[1] == f"{displayed(NAME)}   1"


@pytest.mark.parametrize("word", [NAME, "it's \\ \t", "\\n\n'", "plain", "Süd"])
def test_a_shell_takes_a_proposed_command_for_the_exact_name(word):
    line = command_line([word])
    assert printable(line) == line
    command = ["bash", "-c", f"printf %s {line}"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == word.encode()


def test_the_command_that_a_summary_proposes_prints_clean_names(run):
    done = subprocess.run(
        ["bash", "-c", open_command(run, ["video_id", "score", "status"])],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 7
    assert is_clean(done.stdout)
