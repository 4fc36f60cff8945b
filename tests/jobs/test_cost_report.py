"""The job that compares runs: its report, its page, and what it refuses in one line."""

import json
import re
import sys
from pathlib import Path

import pytest

from jobs import cost_report
from pipeline.formatting import money
from pipeline.labeling import job as label_job
from pipeline.labeling.flags import parser
from tests.browser import DESKTOP, PHONE, browser_page, needs_browser
from tests.pipeline.synthetic_runs import PRICES, Made, make_run

REPOSITORY = Path(__file__).parents[2]
PRUNED = Made(r=22, flops=490_000, device_ms=11.0, blur=0.4, shadow=0.5)


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the job with these arguments; exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["cost_report.py", *map(str, arguments)])
        try:
            code = cost_report.main()
        except SystemExit as stopped:
            code = stopped.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [
        make_run(folder / "dense <run>", Made(), prices=PRICES),
        make_run(folder / "pruned", PRUNED, prices=PRICES),
    ]


def test_the_report_is_a_page_markdown_and_json_and_a_short_table(command, runs, tmp_path):
    code, out, err = command(*runs, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.html", "report.md", "report.json",
    }  # fmt: skip
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert all(run["cluster"]["cost"] > 0 for run in content["runs"])
    assert "pruned (r = 22)" in out
    assert re.search(r"Cluster per 1,000 videos +0\.\d+ EUR +0\.\d+ EUR\n", out)
    assert max(map(len, out.splitlines()[:-1])) <= 100
    markdown = (tmp_path / "out" / "report.md").read_text()
    assert "## Cost of the cluster" in markdown
    assert "dense \\<run>" in markdown
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "<run>" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)


@needs_browser
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_the_page_shows_its_figures_in_a_browser_and_fetches_nothing(command, runs, tmp_path, size):
    command(*runs, "--out", tmp_path)
    content = json.loads((tmp_path / "report.json").read_text())
    with browser_page(tmp_path / "report.html", size) as page:
        assert page.console_errors() == []
        assert page.requests() == []
        assert page.width_overflow() == 0
        widths = page.run(
            "return [...document.querySelectorAll('figure svg')].map(e => e.clientWidth)"
        )
        assert len(widths) == 3
        assert min(widths) > 250
        shown = page.run("return document.body.innerText").replace("\u00a0", " ")
        drawn = page.run("return document.querySelector('figure').textContent")
    dense, pruned = content["runs"]
    same = pruned["agreement"]["top1"]["value"]
    for text in (
        f"{100 * pruned['work']['flops'] / dense['work']['flops']:.1f} %",
        f"{100 * same:.1f} %",
        money(pruned["cluster"]["cost"], "EUR"),
        "Methodology",
    ):
        assert text in shown
    assert "EUR per 1,000 videos" in drawn


def test_without_prices_there_is_no_money_and_one_line_that_says_how_to_give_them(
    command, tmp_path
):
    runs = [make_run(tmp_path / "a", Made()), make_run(tmp_path / "b", PRUNED)]
    code, out, _ = command(*runs, "--out", tmp_path / "out")
    assert code == 0
    assert "--prices FILE" in out
    assert "1,000" not in out
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert content["prices"] is None
    assert all(run["work_cost"] is run["cluster"]["cost"] is None for run in content["runs"])
    assert "--prices FILE" in (tmp_path / "out" / "report.html").read_text()


def test_the_example_prices_are_prices_and_win_over_the_runs(command, runs, tmp_path):
    example = REPOSITORY / "infra" / "prices.yaml"
    code, _, _ = command(*runs, "--prices", example, "--out", tmp_path)
    assert code == 0
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["prices"]["currency"] == "USD"
    assert content["prices_from"] == f"--prices {example}"


def unfinished(folder):
    make_run(folder / "begun", PRUNED)
    (folder / "begun" / "_SUCCESS").unlink()
    return folder / "begun"


def of_other_classes(folder):
    path = Path(make_run(folder / "other", PRUNED)) / "run.json"
    content = json.loads(path.read_text())
    content["identity"]["labels"] = "nine"
    path.write_text(json.dumps(content))
    return folder / "other"


def of_other_videos(folder):
    return make_run(folder / "far", PRUNED, first=500)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (lambda _: [], "two runs or more"),
        (lambda folder: [folder], "there is no run in"),
        (lambda folder: [unfinished(folder)], "not finished"),
        (lambda folder: [of_other_classes(folder)], "other classes"),
        (lambda folder: [of_other_videos(folder)], "no video was labeled by all of"),
        (lambda _: ["--same"], "named twice"),
        (lambda folder: [folder, "--prices", folder / "none.yaml"], "none.yaml"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(command, runs, tmp_path, arguments, words):
    given = [runs[0] if each == "--same" else each for each in arguments(tmp_path)]
    if "--prices" in given:
        given = [runs[1], *given[1:]]
    code, out, err = command(runs[0], *given, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"error: [^\n]*{re.escape(words)}[^\n]*\n", err)
    assert not (tmp_path / "out").exists()


def test_a_damaged_table_is_named_and_is_no_wrong_command(command, runs, tmp_path):
    damaged = Path(make_run(tmp_path / "damaged", PRUNED))
    (damaged / "videos" / "part-00000.parquet").write_bytes(b"PAR1")
    code, _, err = command(runs[0], damaged, "--out", tmp_path / "out")
    assert code == 1
    assert err.startswith("error: ")
    assert err.count("\n") == 1


LABELER = """
import os, sys
from pathlib import Path
sys.path.insert(0, {repository!r})
from tests.browser import DESKTOP, PHONE, browser_page, needs_browser
from tests.pipeline.synthetic_runs import Made, make_run
r = 0 if sys.argv[1:] == ["--r", "0"] else 22
name = "demo/k400-released-r-" + ("0" if r == 0 else "default")
make_run(Path(name), Made(r=r))
Path(name, "pid").write_text(str(os.getpid()))
"""


def test_without_runs_the_demo_is_labeled_in_two_processes_and_compared(
    command, tmp_path, monkeypatch
):
    script = tmp_path / "label.py"
    script.write_text(LABELER.format(repository=str(REPOSITORY)))
    monkeypatch.setattr(cost_report, "_LABEL", script)
    monkeypatch.chdir(tmp_path)
    code, out, _ = command()
    assert code == 0
    assert "k400-released-r-0 (unpruned)" in out
    assert (tmp_path / "cost_report" / "report.html").exists()
    pids = {path.read_text() for path in tmp_path.glob("demo/*/pid")}
    assert len(pids) == 2


def test_no_report_if_the_demo_cannot_be_labeled(command, tmp_path, monkeypatch):
    script = tmp_path / "label.py"
    script.write_text("import sys; sys.exit(1)")
    monkeypatch.setattr(cost_report, "_LABEL", script)
    monkeypatch.chdir(tmp_path)
    code, _, err = command()
    assert code == 1
    assert "labeling the demo archive failed" in err


def test_the_demo_runs_are_where_the_labeling_job_writes_them():
    for flags, place in zip(cost_report.DEMO_FLAGS, cost_report.DEMO_RUNS, strict=True):
        arguments = parser("k400").parse_args(list(flags))
        assert Path(place) == label_job.DEMO / label_job._demo_output("k400", arguments)


def test_runs_in_object_storage_are_read_where_they_lie(command, runs, s3, tmp_path):
    s3.create_bucket(Bucket="reports")
    for run in map(Path, runs):
        for file in run.rglob("*"):
            if file.is_file():
                key = f"night/{run.name[:5]}/{file.relative_to(run)}"
                s3.put_object(Bucket="reports", Key=key, Body=file.read_bytes())
    local, stored = tmp_path / "local", tmp_path / "stored"
    assert command(*runs, "--out", local)[0] == 0
    code, _, err = command("s3://reports/night/dense", "s3://reports/night/prune", "--out", stored)
    assert (code, err) == (0, "")
    one, other = (json.loads((each / "report.json").read_text()) for each in (local, stored))
    for here, there in zip(one["runs"], other["runs"], strict=True):
        assert here["work"] == there["work"]
        assert here["agreement"] == there["agreement"]
