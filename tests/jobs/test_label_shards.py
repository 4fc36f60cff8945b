"""A whole run over shards that was killed: every video once, with the results of single files."""

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.faults.kill import JOBS
from tests.processes import descendants, kill, wait_while_running
from tests.tars import by_gnu, by_webdataset
from tests.videos import write_video

pytestmark = pytest.mark.drill

NAMES = [f"{number:02d}" for number in range(16)]


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The same videos as files, and as a shard of WebDataset and a gzipped tar."""
    files = tmp_path_factory.mktemp("files").resolve()
    shards = tmp_path_factory.mktemp("shards").resolve()
    for place, name in enumerate(NAMES):
        write_video(files / f"{name}.mp4", frames=20 + place)
    contents = {name: (files / f"{name}.mp4").read_bytes() for name in NAMES}
    by_webdataset(shards / "a.tar", {name: {"mp4": contents[name]} for name in NAMES[:8]})
    by_gnu(shards / "b.tar.gz", {f"{name}.mp4": contents[name] for name in NAMES[8:]}, "gnu", "-z")
    for file in (shards / "b.tar.files").iterdir():
        file.unlink()
    return files, shards


def job(source: Path, output: Path, checkpoint: Path) -> list[str]:
    flags = ["--checkpoint", str(checkpoint), "--views", "1x1"]
    return [sys.executable, str(JOBS / "label_k400.py"), str(source), str(output), *flags]


def results(output: Path):
    """Of each video its status, scores and kept-token maps, by its name without its shard."""
    videos = pq.read_table(output / "videos", partitioning=None).to_pylist()
    clips = pq.read_table(output / "clips", partitioning=None).to_pylist()
    found = {
        Path(row["video_id"]).name: (row["status"], row["label"], row["top_scores"])
        for row in videos
    }
    maps = {
        (Path(row["video_id"]).name, row["clip"], row["crop"]): row["kept_token_maps"]
        for row in clips
    }
    assert (len(found), len(maps)) == (len(videos), len(clips))
    return found, maps


def kill_on_the_way(command: list[str], output: Path) -> None:
    """Starts a job, and kills it and all that it started as soon as units are done."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        wait_while_running(driver, lambda: any((output / "units").glob("*.parquet")))
        children = descendants(driver.pid)
        for process in (driver.pid, *children):
            kill(process)


def test_shards_give_what_files_give_also_after_a_kill(archives, random_checkpoint, tmp_path):
    files, shards = tmp_path / "files", tmp_path / "shards"
    for source, output in zip(archives, (files, shards), strict=True):
        command = job(source, output, random_checkpoint)
        if output is shards:
            kill_on_the_way(command, output)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
    expected, found = results(files), results(shards)
    assert len(expected[0]) == len(NAMES)
    assert {status for status, _, _ in expected[0].values()} == {"ok"}
    assert found == expected
    verified = subprocess.run(
        [sys.executable, str(JOBS / "verify.py"), str(shards)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert verified.returncode == 0, verified.stdout
