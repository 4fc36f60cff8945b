"""Whole runs over videos in Parquet, killed and resumed, and over folders of frames."""

import signal
import subprocess
import sys
from pathlib import Path

import av
import cv2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.processes import wait_while_running
from tests.videos import write_video

pytestmark = pytest.mark.drill

JOBS = Path(__file__).parents[2] / "jobs"
VIDEO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
COMPARED = ("label", "top_ids", "top_scores", "flops", "tokens_kept", "kept_token_maps")
VIDEOS, FPS = 20, 30


def command(job, *arguments):
    return [sys.executable, str(JOBS / f"{job}.py"), *map(str, arguments)]


def label(*arguments):
    done = subprocess.run(
        command("label_k400", *arguments), capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def views(output):
    """What is compared of each view, by the video's name without folder and extension."""
    rows = pq.read_table(output / "clips", partitioning=None).to_pylist()
    return {
        (Path(row["video_id"]).stem, row["clip"], row["crop"]): [row[name] for name in COMPARED]
        for row in rows
    }


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    for number in range(VIDEOS):
        write_video(folder / f"v{number:02}.mp4", frames=20 + 3 * number)
    return folder


@pytest.fixture(scope="module")
def flags(random_checkpoint):
    return ("--checkpoint", random_checkpoint, "--views", "2x1")


@pytest.fixture(scope="module")
def of_files(archive, flags, tmp_path_factory):
    output = tmp_path_factory.mktemp("files") / "out"
    label(archive, output, *flags)
    return views(output)


def verified(output):
    checked = subprocess.run(command("verify", output), capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_rows_of_parquet_are_labeled_as_their_files_also_after_a_kill(
    archive, flags, of_files, tmp_path
):
    paths = sorted(archive.iterdir())
    for number, compression in enumerate(("none", "snappy")):
        part = paths[number::2]
        rows = [{"bytes": path.read_bytes(), "path": path.name} for path in part]
        columns = {"video": pa.array(rows, VIDEO), "label": list(range(len(part)))}
        file = tmp_path / "data" / f"train-{number}.parquet"
        file.parent.mkdir(exist_ok=True)
        pq.write_table(
            pa.table(columns), file,
            compression=compression, use_dictionary=False, row_group_size=7,
        )  # fmt: skip
    output = tmp_path / "out"
    arguments = (tmp_path / "data", output, *flags)
    driver = subprocess.Popen(
        command("label_k400", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_while_running(driver, lambda: len(list(output.glob("units/*.parquet"))) >= 2)
    driver.send_signal(signal.SIGKILL)
    driver.communicate(timeout=900)
    assert not (output / "_SUCCESS").exists()
    assert "Resumed:" in label(*arguments).stdout
    assert views(output) == of_files
    manifest = pq.read_table(output / "manifest", partitioning=None).to_pylist()
    kinds = [row["part"].partition(":")[0] for row in manifest]
    assert (kinds.count("bytes"), kinds.count("parquet")) == (VIDEOS // 2, VIDEOS // 2)
    assert all(row["ground_truth"] for row in manifest)
    verified(output)


def test_folders_of_frames_are_labeled_as_the_videos_they_were_taken_from(
    archive, flags, of_files, tmp_path
):
    for path in archive.iterdir():
        folder = tmp_path / "frames" / path.stem
        folder.mkdir(parents=True)
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0), start=1):
                rgb = frame.to_ndarray(format="rgb24")
                cv2.imwrite(str(folder / f"img_{number:05d}.png"), rgb[:, :, ::-1])
    output = tmp_path / "out"
    label(tmp_path / "frames", output, *flags, "--fps", FPS)
    assert views(output) == of_files
    verified(output)
