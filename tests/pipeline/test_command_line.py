"""Flags come from dataclass fields and a file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from pipeline.command_line import JobParser, flags_given, job_parser, run_job, words_given
from pipeline.flags import argument, flag, options_of, share


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
    since: tuple[str, ...] = flag("earlier runs", (), repeated=True, metavar="RUN")


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


def test_a_flag_that_may_be_repeated_takes_one_value_each_time(config):
    found, arguments, parser = parse("--since", "a", "videos", "out", "--since=b c")
    assert (found.since, found.input, found.output) == (("a", "b c"), "videos", "out")
    assert flags_given(parser, arguments)["since"] == ["a", "b c"]
    assert parse(*words_given(parser, arguments))[0].since == ("a", "b c")
    for text, of_file in (("since: a", ("a",)), ("since: [a, b]", ("a", "b"))):
        assert parse("--config", config(text))[0].since == of_file
        assert parse("--config", config(text), "--since", "c")[0].since == ("c",)


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


def test_a_job_works_with_its_options_and_returns_its_exit_code():
    assert run_job(Options, lambda options: options.r, ["--r", "3"], about="A job.") == 3


def test_an_argument_that_may_be_left_out_may_stand_after_flags():
    parser = JobParser()
    parser.add_argument("input")
    parser.add_argument("output", nargs="?", default="made")
    parser.add_argument("--views")
    assert parser.parse_args(["in", "--views", "2"]).output == "made"
    parsed = parser.parse_args(["in", "--views", "2", "out"])
    assert (parsed.output, parsed.given["output"]) == ("out", ["out"])
    with pytest.raises(SystemExit):
        parser.parse_args(["in", "--views", "2", "out", "further"])
