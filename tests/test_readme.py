"""The README on reading a run: its snippets run as they stand there, on a run with a failure."""

import re
from pathlib import Path

import pytest

from pipeline.video import Video
from tests.pipeline.token_runs import VIT, make_run
from tests.videos import write_video

README = (Path(__file__).parent.parent / "README.md").read_text()
SECTION = README.partition("### Reading the output\n")[2].partition("\n## ")[0]
_FOUND = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
# What begins with no import goes on from the one before.
SNIPPETS = [each for each in _FOUND if each.startswith("import")]
SNIPPETS[0] += "".join(each for each in _FOUND if each.startswith("duckdb"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "text.mp4").write_text("no video")
    good = write_video(folder / "good.mp4", frames=40)
    videos = [Video("VIDEO_ID", str(good)), Video("broken", str(folder / "text.mp4"))]
    return make_run(folder / "OUTPUT", videos, VIT)


def test_there_are_snippets_for_duckdb_pandas_polars_and_the_kept_maps():
    assert [snippet.split()[1] for snippet in SNIPPETS] == [
        "duckdb",
        "pandas",
        "polars",
        "pipeline",
    ]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.split()[1])
def test_what_the_readme_says_of_reading_a_run_runs(run, snippet, monkeypatch):
    monkeypatch.chdir(Path(run.root.uri).parent)
    names = {}
    exec(snippet, names)
    if "maps" in names:
        assert [stage.shape[:2] for stage in names["maps"].stages] == [(6, 8)] * 3


def test_duckdb_gives_what_the_readme_promises(run):
    import duckdb

    queries = re.findall(r'duckdb\.sql\("""(.*?)"""', "".join(SNIPPETS), re.DOTALL)
    labels, failures, sums, changed = (
        duckdb.sql(query.replace("OUTPUT", run.root.uri)).fetchall() for query in queries
    )
    assert [(label, videos) for label, videos, _ in labels] == [("a", 1)]
    ((reason, videos, example),) = failures
    assert (reason, videos) == ("not_video", 1)
    assert example
    assert len(sums[0]) == 3
    assert changed == []
