"""A mistake in a command is one line that names what is meant, for every flag of every job."""

import re
import subprocess
from pathlib import Path

import pytest

from pipeline.inputs.demo.archive import DEMO
from tests.jobs.parsers import COMMANDS, PARTS, flags, job_parser, parts_of, run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def refused(capsys, tmp_path, monkeypatch):
    """Runs a job that must refuse its arguments; the one line that it says."""
    monkeypatch.chdir(tmp_path)

    def told(command, *words):
        with pytest.raises(SystemExit) as ended:
            run(command, *words)
        assert ended.value.code == 2, words
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert not list(tmp_path.iterdir())
        return err.strip()

    return told


def misspelt(flag):
    """Ways in which a flag is mistyped."""
    name = flag[2:]
    yield f"--{name}{name[-1]}"
    if len(name) > 4:
        yield f"--{name[:2]}{name[3:]}"
        yield f"--{name[:2]}{name[3]}{name[2]}{name[4:]}"
        yield f"--{name[:-1]}"
    if "-" in name:
        yield f"--{name.replace('-', '_')}"
    yield f"-{name}"


def test_the_parts_of_jobs_are_all_tried():
    for command in COMMANDS:
        if len(command) == 1:
            assert set(parts_of(job_parser(command))) == set(PARTS.get(command[0], ()))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_flag_that_does_not_exist_is_told_with_the_one_that_is_meant(command, refused):
    known = flags(command)
    assert "--help" in known
    for flag in (each for each in known if each.startswith("--")):
        for wrong in {*misspelt(flag)} - known:
            said = refused(command, wrong)
            assert said.startswith(f"error: there is no flag {wrong}; did you mean "), said
            assert re.search(rf"{flag}(\?|,| or )", said), said


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_flag_like_no_other_is_told_of_before_what_is_missing(command, refused):
    said = refused(command, "--qqqqq=1")
    assert said == "error: there is no flag --qqqqq; --help explains all flags"


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        (
            ("label_k400",),
            ["a", "b", "--retry"],
            "there is no flag --retry; did you mean --retry-failed?",
        ),
        (
            ("label_k400",),
            ["--max", "3"],
            "there is no flag --max; did you mean --max-cpus, --max-failed, --max-gpus or "
            "--max-units-per-video?",
        ),
        (
            ("label_k400",),
            ["--decoder", "pyva"],
            "--decoder: 'pyva' is not one of pyav, decord, nvdec; did you mean pyav?",
        ),
        (
            ("benchmark",),
            ["modl", "--rounds", "1"],
            "PART: 'modl' is not one of model, decode, labeler, precision, chain, pipeline; "
            "did you mean model?",
        ),
        (
            ("benchmark", "model"),
            ["--mode", "egaer"],
            "--mode: 'egaer' is not one of eager, compile, graphs; did you mean eager?",
        ),
        (
            ("reproduce",),
            ["tabels"],
            "WHAT: 'tabels' is not one of tables, compare, trajectory, gradnorm; did you mean "
            "tables?",
        ),
        (
            ("label_k400",),
            ["--r", "half"],
            "--r: 'half' is not a whole number; --help explains all flags",
        ),
        (
            ("label_k400",),
            ["--budget-flops", "much"],
            "--budget-flops: 'much' is not a number; --help explains all flags",
        ),
        (
            ("label_k400",),
            ["--shadow-share", "one"],
            "--shadow-share: a share is written 1% or 0.01; got 'one'; --help explains all flags",
        ),
        (
            ("verify",),
            ["one", "two"],
            "too many arguments: 'two'; verify.py takes OUTPUT only; --help explains all flags",
        ),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else "",
)
def test_what_is_wrong_is_said_in_one_line(command, words, said, refused):
    assert refused(command, *words) == f"error: {said}"


def test_a_number_below_zero_and_a_name_after_two_dashes_are_no_flags(refused):
    assert "--checkpoint is missing" in refused(("label_k400",), "--r", "-1", "--", "-in", "-out")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_a_job_writes_by_default_is_ignored_by_git(command):
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    written = {str(DEMO)}
    written |= {
        str(action.default)
        for action in job_parser(command)._actions
        if action.dest == "out" and action.default is not None
    }
    for name in written:
        asked = ["git", "check-ignore", "--quiet", f"{name}/report.html"]
        assert subprocess.run(asked, cwd=ROOT, check=False).returncode == 0, name
