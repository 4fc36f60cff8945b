"""A run's manifest and a question's set as INPUT of another run: the same units and labels."""

import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.tars import by_gnu, by_python
from tests.videos import write_video

pytestmark = pytest.mark.drill

JOBS = Path(__file__).parents[2] / "jobs"
FLAGS = ("--views", "1x1")


def job(name, *arguments):
    command = [sys.executable, str(JOBS / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a tar and a gzipped tar of three videos each, and a video beside them."""
    folder = tmp_path_factory.mktemp("lists").resolve()
    (folder / "in").mkdir()
    contents = {
        f"{number}.mp4": write_video(folder / f"{number}.mp4", frames=20 + number).read_bytes()
        for number in range(6)
    }
    first, second = dict(list(contents.items())[:3]), dict(list(contents.items())[3:])
    by_python(folder / "in" / "a.tar", first)
    by_gnu(folder / "b.tar.gz", second, "gnu", "-z").rename(folder / "in" / "b.tar.gz")
    write_video(folder / "in" / "plain.mp4", frames=33)
    return folder


@pytest.fixture(scope="module")
def first(made, random_checkpoint):
    """The run over the folder."""
    job("label_k400.py", made / "in", made / "first", "--checkpoint", random_checkpoint, *FLAGS)
    return made / "first"


def labels(output):
    """Of each video what the run says of it, but for times."""
    names = ["video_id", "uri", "status", "error", "label", "top_scores", "flops", "bytes_read"]
    rows = pq.read_table(output / "videos", columns=names, partitioning=None).to_pylist()
    return {row["video_id"]: row for row in rows}


def units(folder):
    return set(pq.read_table(folder)["unit_id"].to_pylist())


def test_the_manifest_of_a_run_gives_the_same_videos_and_labels(first, made, random_checkpoint):
    index = next((first / "indexes").iterdir())
    index.rename(made / "moved")  # the new run makes its own
    output = made / "second"
    said = job(
        "label_k400.py", first / "manifest", output, "--checkpoint", random_checkpoint, *FLAGS
    )
    (made / "moved").rename(index)
    assert "not read" not in said
    assert len(labels(first)) == 7
    assert {row["status"] for row in labels(first).values()} == {"ok"}
    assert labels(output) == labels(first)
    assert units(output / "manifest") == units(first / "manifest")
    assert [file.name for file in (output / "indexes").iterdir()] == [index.name]
    job("verify.py", output)


def test_part_of_a_manifest_gives_that_part(first, made, random_checkpoint):
    rows = pq.read_table(first / "manifest")
    chosen = rows.filter(pc.match_substring(rows["video_id"], "1.mp4"))
    pq.write_table(chosen, made / "chosen.parquet")
    job(
        *("label_k400.py", made / "chosen.parquet", made / "third"),
        *("--checkpoint", random_checkpoint, *FLAGS),
    )
    assert labels(made / "third") == {"a.tar/1.mp4": labels(first)["a.tar/1.mp4"]}


def test_the_set_that_a_question_selects_is_labeled_and_nothing_else(
    first, made, random_checkpoint
):
    output = made / "asked"
    question = (made / "in", "videos with a", output, "--recall", "0.9")
    job("ask.py", *question, "--checkpoint", random_checkpoint, *FLAGS)
    chosen = units(output / "selected")
    job(
        *("label_k400.py", output / "selected", made / "fourth"),
        *("--checkpoint", random_checkpoint, *FLAGS),
    )
    assert units(made / "fourth" / "manifest") == chosen
    expected = labels(first)
    assert labels(made / "fourth") == {name: expected[name] for name in labels(made / "fourth")}
    assert len(labels(made / "fourth")) == len(chosen) > 0


def test_segments_of_a_run_are_told_to_be_labeled_as_whole_videos(first, made, random_checkpoint):
    long, dense = made / "long", made / "dense"
    long.mkdir()
    write_video(long / "long.mp4", frames=90)
    job(
        *("label_k400.py", long, dense, "--checkpoint", random_checkpoint),
        *("--clip-every", "1s", "--views", "1x1"),
    )
    rows = pq.read_table(dense / "manifest")
    assert len(rows) == 3
    pq.write_table(rows.slice(1, 1), made / "segment.parquet")
    said = job(
        *("label_k400.py", made / "segment.parquet", made / "whole"),
        *("--checkpoint", random_checkpoint, *FLAGS),
    )
    assert "names segments of 1 video; a video is labeled once and whole" in said
    assert labels(made / "whole").keys() == {"long.mp4"}
    (row,) = pq.read_table(made / "whole" / "manifest").to_pylist()
    assert (row["start_s"], row["end_s"]) == (None, None)
