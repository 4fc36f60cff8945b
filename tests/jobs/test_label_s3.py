"""From object storage to object storage: killed, refused, emptied, cut off, never indiscreet."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.storage.location import Location
from tests.object_storage import KEY_NAMES
from tests.processes import wait_while_running
from tests.videos import write_video

JOBS = Path(__file__).parents[2] / "jobs"
VIDEOS = 16


@pytest.fixture(scope="module")
def bucket(object_storage, tmp_path_factory):
    """A bucket of small videos under videos/, one of them broken."""
    client, folder = object_storage.client(), tmp_path_factory.mktemp("videos")
    client.create_bucket(Bucket="archive")
    for number in range(VIDEOS):
        path = write_video(folder / f"{number}.mp4", frames=20 + number)
        client.upload_file(str(path), "archive", f"videos/{number}.mp4")
    client.put_object(Bucket="archive", Key="videos/broken.mp4", Body=b"no video")
    return "s3://archive"


@pytest.fixture
def job(s3, random_checkpoint, monkeypatch):
    """Gives the command line of the job, whose Ray logs into a folder of the test's own."""
    # Not pytest's: the sockets in it need a short name.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    monkeypatch.setenv("RAY_TMPDIR", str(folder))

    def command(source, output, *more):
        start = [sys.executable, str(JOBS / "label_k400.py"), source, output]
        return [*start, "--checkpoint", str(random_checkpoint), "--views", "1x1", *more]

    command.logs = folder
    yield command
    shutil.rmtree(folder, ignore_errors=True)


def run(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


def rows(uri):
    """By video; a video that has more than one row fails."""
    filesystem, path = Location.of(uri).filesystem()
    table = pq.read_table(path, filesystem=filesystem, partitioning=None).to_pylist()
    by_video = {row["video_id"]: row for row in table}
    assert len(by_video) == len(table)
    return by_video


def committed(output):
    return len(Location.of(f"{output}/units").files(".parquet"))


def everything_written(output, logs):
    """(where, bytes) of all objects of a run and of all that Ray logged."""
    filesystem, path = Location.of(output).filesystem()
    for info in filesystem.get_file_info(selector(path)):
        if info.is_file:
            yield info.path, filesystem.open_input_stream(info.path).read()
    for file in logs.rglob("*"):
        if file.is_file() and not file.is_symlink():
            yield str(file), file.read_bytes()


def selector(path):
    import pyarrow.fs as pafs

    return pafs.FileSelector(path, recursive=True)


def test_a_killed_run_is_finished_by_the_same_command_and_says_no_secret(
    s3, bucket, job, object_storage
):
    source, output = f"{bucket}/videos", f"{bucket}/labels/night #1"
    command = job(source, output)
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_while_running(driver, lambda: committed(output) >= 2)
    driver.send_signal(signal.SIGKILL)
    said = b"".join(driver.communicate())

    done = run(command)
    assert done.returncode == 0, done.stderr
    videos = rows(f"{output}/videos")
    assert len(videos) == VIDEOS + 1
    assert videos.pop("broken.mp4")["error_type"] == "not_video"
    for name, row in videos.items():
        assert row["status"] == "ok"
        size = s3.head_object(Bucket="archive", Key=f"videos/{name}")["ContentLength"]
        assert row["bytes_read"] == size
        assert row["uri"] == f"{source}/{name}"
    assert len(rows(f"{output}/units")) == VIDEOS + 1
    assert Location.of(f"{output}/_SUCCESS").exists()
    checked = run([sys.executable, str(JOBS / "verify.py"), output])
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.endswith("Verified: all checks passed.\n")

    secret = object_storage.keys[1].encode()
    assert secret not in said + done.stdout.encode() + done.stderr.encode()
    written = dict(everything_written(output, job.logs))
    assert any(name.endswith("run.json") for name in written)
    assert any("session" in name for name in written), "Ray's logs were looked through"
    assert [name for name, content in written.items() if secret in content] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIANOBODY", "the storage does not know the access key"),
        ("AWS_SECRET_ACCESS_KEY", "hidden", "the secret key does not match the access key"),
    ],
)
def test_wrong_keys_are_one_line_and_exit_code_2(bucket, job, monkeypatch, setting, value, said):
    monkeypatch.setenv(setting, value)
    for source, output in (
        (f"{bucket}/videos", f"{bucket}/refused"),
        (str(JOBS.parent), f"{bucket}/refused"),
    ):
        done = run(job(source, output))
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert said in line or "access denied" in line
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in line


@pytest.mark.slow
def test_buckets_that_are_not_there_are_one_line_and_exit_code_2(bucket, job):
    for source, output, what in (
        ("s3://absent/x", f"{bucket}/refused", "cannot list s3://absent/x"),
        (f"{bucket}/videos", "s3://absent/x", "cannot write to s3://absent/x"),
    ):
        done = run(job(source, output))
        assert done.returncode == 2
        assert done.stderr == f"error: {what}: there is no such bucket\n"


def stopped(driver):
    """The one line of an error with which a job ended, and what it said last."""
    _, said = driver.communicate(timeout=300)
    assert driver.returncode == 1, said
    assert "Traceback (most recent call last)" not in said
    lines = said.splitlines()
    (line,) = [line for line in lines if line.startswith("error: ")]
    assert len(lines) - lines.index(line) <= 3
    return line


def begun(command, output):
    """A job that has written some of its rows."""
    driver = subprocess.Popen(
        [*command, "--batch-size", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_while_running(driver, lambda: committed(output) >= 2)
    return driver


@pytest.mark.drill
def test_access_that_is_revoked_in_mid_run_is_one_line_and_the_run_is_resumed(
    unreliable_s3, bucket, job
):
    output = f"{bucket}/labels/revoked"
    driver = begun(job(f"{bucket}/videos", output), output)
    unreliable_s3.spoil = lambda method, path: (
        "denied" if method in ("PUT", "POST", "DELETE") else None
    )
    line = stopped(driver)
    assert line.startswith(f"error: {output}/")
    assert "access denied; the credentials in use do not permit this. " in line
    assert f"of {VIDEOS + 1} units are committed and safe" in line
    unreliable_s3.spoil = lambda method, path: None
    done = run(job(f"{bucket}/videos", output))
    assert done.returncode == 0, done.stderr
    assert len(rows(f"{output}/units")) == VIDEOS + 1


@pytest.mark.drill
def test_an_output_whose_objects_are_deleted_in_mid_run_is_one_line(s3, bucket, job):
    s3.create_bucket(Bucket="leaving")
    output = "s3://leaving/labels"
    driver = begun(job(f"{bucket}/videos", output), output)
    for _ in range(3):  # a part that was on its way may come after the first look
        for entry in s3.list_objects_v2(Bucket="leaving").get("Contents", ()):
            s3.delete_object(Bucket="leaving", Key=entry["Key"])
    assert f"{output} was removed, replaced or unmounted" in stopped(driver)
    assert "labels/run.json" not in str(s3.list_objects_v2(Bucket="leaving"))


def test_keys_in_the_address_are_refused_without_repeating_them(bucket, job, object_storage):
    address = "s3://{}:{}@archive/videos".format(*object_storage.keys)
    for source, output in ((address, f"{bucket}/refused"), (f"{bucket}/videos", address)):
        done = run(job(source, output))
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert all(name in line for name in KEY_NAMES)
        assert not any(key in line for key in object_storage.keys)


@pytest.mark.drill
def test_objects_that_are_removed_after_they_were_listed_are_rows_that_say_so(s3, bucket, job):
    for number in range(6):
        copied = {"Bucket": "archive", "Key": f"videos/{number}.mp4"}
        s3.copy_object(Bucket="archive", Key=f"leaving/{number}.mp4", CopySource=copied)
    output = f"{bucket}/labels/leaving"
    command = job(f"{bucket}/leaving", output)
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_while_running(driver, lambda: Location.of(f"{output}/run.json").exists())
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert committed(output) == 0
    for number in range(3):
        s3.delete_object(Bucket="archive", Key=f"leaving/{number}.mp4")

    done = run(command)
    assert done.returncode == 0, done.stderr
    outcome = {name: row["error_type"] for name, row in rows(f"{output}/videos").items()}
    assert outcome == {f"{n}.mp4": "not_found" if n < 3 else None for n in range(6)}


@pytest.mark.drill
def test_ten_seconds_without_the_storage_cost_no_row(bucket, job, object_storage):
    output = f"{bucket}/labels/cut-off"
    with tempfile.TemporaryFile() as said:
        driver = subprocess.Popen(job(f"{bucket}/videos", output), stdout=said, stderr=said)
        wait_while_running(driver, lambda: committed(output) >= 1)
        object_storage.stop()
        back = threading.Timer(10, object_storage.start)
        back.start()
        try:
            assert driver.poll() is None, "it ended before it was cut off"
            code = driver.wait(timeout=900)
        finally:
            back.join()
        said.seek(0)
        assert code == 0, said.read().decode()
    outcome = {name: row["error_type"] for name, row in rows(f"{output}/videos").items()}
    assert outcome.pop("broken.mp4") == "not_video"
    assert outcome == {f"{number}.mp4": None for number in range(VIDEOS)}
    checked = run([sys.executable, str(JOBS / "verify.py"), output])
    assert checked.returncode == 0, checked.stdout


@pytest.mark.drill
def test_the_signature_of_a_checkpoints_address_is_written_nowhere(
    s3, bucket, job, object_storage, random_checkpoint, tmp_path, monkeypatch
):
    if object_storage.kind == "moto":
        pytest.skip("moto answers no signed address when it checks signatures")
    monkeypatch.setenv("STA_CACHE", str(tmp_path))
    s3.upload_file(str(random_checkpoint), "archive", "model.safetensors")
    signed = s3.generate_presigned_url(
        "get_object", Params={"Bucket": "archive", "Key": "model.safetensors"}, ExpiresIn=3600
    )
    signature = signed.rpartition("X-Amz-Signature=")[2].partition("&")[0].encode()
    assert len(signature) > 20
    output = f"{bucket}/labels/signed"
    done = run(job(f"{bucket}/videos", output, "--limit", "2", "--checkpoint", signed))
    assert done.returncode == 0, done.stderr
    written = dict(everything_written(output, job.logs))
    assert b"model.safetensors" in written[f"{output.removeprefix('s3://')}/run.json"]
    assert [name for name, content in written.items() if signature in content] == []
