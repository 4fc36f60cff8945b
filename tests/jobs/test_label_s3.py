"""From object storage to object storage, killed in between."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pytest

from tests.videos import write_video

JOB = Path(__file__).parents[2] / "jobs" / "label_k400.py"


@pytest.fixture
def bucket(s3, tmp_path):
    s3.create_bucket(Bucket="archive")
    for number in range(10):
        path = write_video(tmp_path / f"{number}.mp4", frames=20 + number)
        s3.upload_file(str(path), "archive", f"videos/{number}.mp4")
    s3.put_object(Bucket="archive", Key="videos/broken.mp4", Body=b"no video")
    return "archive"


def rows(uri, columns):
    filesystem, path = pafs.FileSystem.from_uri(uri)
    table = ds.dataset(path, filesystem=filesystem, format="parquet", exclude_invalid_files=False)
    return table.to_table(columns=columns).to_pylist()


def test_a_killed_run_from_bucket_to_bucket_is_finished_by_the_same_command(
    s3, bucket, s3_environment, random_checkpoint
):
    source, output = f"s3://{bucket}/videos", f"s3://{bucket}/labels/night-1"
    command = [sys.executable, str(JOB), source, output, "--checkpoint", str(random_checkpoint)]
    command += ["--views", "1x1"]
    environment = os.environ | s3_environment
    driver = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def written():
        listed = s3.list_objects_v2(Bucket=bucket, Prefix="labels/night-1/units/")
        return len(listed.get("Contents", ()))

    deadline = time.monotonic() + 200
    while written() < 2 and time.monotonic() < deadline:
        assert driver.poll() is None, "it ended before it could be killed"
        time.sleep(0.1)
    driver.send_signal(signal.SIGKILL)
    driver.wait()

    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    videos = rows(f"{output}/videos", ["video_id", "status", "error_type", "bytes_read", "uri"])
    by_name = {row["video_id"]: row for row in videos}
    assert len(videos) == len(by_name) == 11
    assert by_name["broken.mp4"]["error_type"] == "not_video"
    for number in range(10):
        row = by_name[f"{number}.mp4"]
        assert row["status"] == "ok"
        size = s3.head_object(Bucket=bucket, Key=f"videos/{number}.mp4")["ContentLength"]
        assert row["bytes_read"] == size
        assert row["uri"] == f"s3://{bucket}/videos/{number}.mp4"
    ids = [row["unit_id"] for row in rows(f"{output}/units", ["unit_id"])]
    assert len(ids) == len(set(ids)) == 11
    s3.head_object(Bucket=bucket, Key="labels/night-1/_SUCCESS")
