"""Errors of workers and storage, as Ray and Arrow word them, are one line with a path."""

import errno
import os
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from ray.data._internal.util import _annotate_exception_with_retry_context

from pipeline.errors import OutputLostError, RunError
from pipeline.execution import run_failure as module
from pipeline.execution.run_failure import root_cause, run_failure
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.atomic_files import AtomicFile
from pipeline.storage.location import Location
from sta.transport.responses import response_error
from tests.disks import small_disk
from tests.run_records import run_record
from workers.schema import UNITS_SCHEMA

ACTOR = """The actor died because of an error raised in its creation task, ray::MapWorker()
           ^^^^^^^^^^^^^^^^
  File "/x/engine.py", line 1, in __init__
    raise ValueError("a: b")
{raised}"""


class Wrapped(ray.exceptions.RayError):
    """An error as Ray wraps it."""

    def __init__(self, cause):
        super().__init__("ray::Write()\nTraceback (most recent call last):\n  File x\nsome: thing")
        self.cause = cause


@pytest.fixture
def run(tmp_path):
    """A run of ten units, four of which are committed."""
    run = RunDirectory(Location.of(str(tmp_path / "out")))
    content = run.create(run_record())
    ids = [f"unit {number}" for number in range(4)]
    rows = pa.Table.from_pylist([{"unit_id": each} for each in ids], schema=UNITS_SCHEMA)
    (tmp_path / "out" / "units").mkdir()
    pq.write_table(rows, tmp_path / "out" / "units" / "a-0.parquet")
    return run, content.run_id


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("workers.devices.DeviceError: no GPU: none", "no GPU: none"),
        ("ValueError: m.pth is a here and was b", "m.pth is a here and was b"),
        ("sta.checkpoints.load.CheckpointError: no room", "CheckpointError: no room"),
        (
            "RuntimeError: CUDA error: out of luck\nCUDA kernel errors might be reported late\n"
            "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\nCompile with `DSA`.",
            "CUDA error: out of luck",
        ),
    ],
)
def test_of_an_actor_that_did_not_start_the_line_that_says_why_is_taken(raised, said):
    assert root_cause(ray.exceptions.RayError(ACTOR.format(raised=raised))) == said


def test_of_an_error_of_several_lines_the_first_is_taken():
    assert root_cause(Wrapped(RuntimeError("CUDA error: x\nCompile with y"))) == "CUDA error: x"
    assert root_cause(Wrapped(RuntimeError())) == "RuntimeError"


def denied(place, code):
    error = response_error(403, code)
    error.place = place
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "x", "/out/units/a"), "/out/units/a: No space left on device"),
        (OSError(errno.EROFS, "Failed renaming '/a/b' to '/a/c'. Detail: x"),
         "/a/b: Read-only file system"),
        (PermissionError(errno.EACCES, "x"), "Permission denied"),
        (denied("s3://b/p/a.parquet", "AccessDenied"),
         "s3://b/p/a.parquet: access denied; the credentials in use do not permit this"),
        (denied("s3://b/p", "NoSuchBucket"),
         "s3://b/p: there is no such bucket"),
    ],
)  # fmt: skip
def test_of_a_storage_the_place_and_the_reason_are_told(error, said):
    assert root_cause(error) == root_cause(Wrapped(error)) == said


def test_a_full_disk_says_what_is_free_what_is_safe_and_what_is_needed(run, tmp_path):
    run, run_id = run
    error = OSError(errno.ENOSPC, "x", str(tmp_path / "out" / "units" / "gone" / "b"))
    failure = run_failure(Wrapped(error), run, run_id=run_id, total=10)
    said = str(failure)
    assert said.startswith(f"{error.filename}: No space left on device (")
    assert "B free). 4 of 10 units are committed and safe; the rest and the tables need" in said
    size = (tmp_path / "out" / "units" / "a-0.parquet").stat().st_size
    assert f"{(6 + 10) * size / 4 / 1000:.1f}"[:2] in said.rpartition("about ")[2]
    assert failure.advice.startswith("Free space there. Run the same command again to resume.")


def sent_by_ray(error):
    """An error of a worker as the driver gets it: annotated, pickled, and of two classes."""
    annotated = _annotate_exception_with_retry_context(
        error, description="apply UDF transform", attempts=1, max_attempts=1, total_backoff_s=0.0,
        exception_str=str(error),
    )  # fmt: skip
    cause = pickle.loads(pickle.dumps(annotated))
    raised = ray.exceptions.RayTaskError("Write", "Traceback\n  File x", cause)
    return raised.as_instanceof_cause()


def test_what_a_real_writer_fails_on_keeps_its_path_on_the_way_to_the_driver(run, tmp_path):
    with (
        small_disk(tmp_path / "disk", megabytes=1) as disk,
        pytest.raises(OSError, match="No space left") as caught,
        AtomicFile(str(disk.folder / "rows")) as file,
    ):
        file.write(bytes(2_000_000))
    failure = run_failure(sent_by_ray(caught.value), run[0], run_id=run[1], total=10)
    assert str(failure).startswith(f"{tmp_path}/disk/rows: No space left on device (")
    assert "\n" not in str(failure)
    assert "UDF" not in str(failure)


def test_what_arrow_fails_on_keeps_its_path_too():
    error = OSError(errno.EROFS, "Failed renaming '/a/b' to '/a/c'. Detail: x")
    assert root_cause(sent_by_ray(error)) == "/a/b: Read-only file system"
    error = denied("s3://b/p/a", "AccessDenied")
    assert root_cause(sent_by_ray(error)).startswith("s3://b/p/a: access denied; ")


def test_a_worker_that_finds_its_output_gone_is_told_in_its_one_line(run):
    failure = run_failure(sent_by_ray(OutputLostError("out was removed")), run[0], run_id=run[1])
    assert type(failure) is OutputLostError
    assert str(failure) == "out was removed"
    assert failure.advice.startswith("Nothing was written there since.")


def test_what_a_labeler_fails_on_in_mid_run_is_its_first_line():
    error = RuntimeError("CUDA error: unspecified launch failure\nCompile with y")
    assert root_cause(sent_by_ray(error)) == "CUDA error: unspecified launch failure"


def test_a_full_quota_and_a_file_size_limit_are_full_disks(run):
    for number in (errno.EDQUOT, errno.EFBIG):
        failure = run_failure(OSError(number, "x", "/a/b"), run[0], run_id=run[1], total=10)
        assert failure.advice.startswith("Free space there")


def test_before_anything_is_committed_nothing_is_said_of_it(tmp_path):
    run = RunDirectory(Location.of(str(tmp_path / "out")))
    failure = run_failure(OSError(errno.EIO, "x", "/a"), run, run_id=None)
    assert str(failure) == "/a: Input/output error"
    run_id = run.create(run_record()).run_id
    assert str(run_failure(OSError(errno.EIO, "x", "/a"), run, run_id=run_id)) == str(failure)


def test_frames_that_cannot_be_spilled_name_rays_folder(run, monkeypatch):
    monkeypatch.setattr(module, "ray_logs", lambda: "/tmp/ray/session_1/logs")
    failure = run_failure(Wrapped(ray.exceptions.OutOfDiskError("x")), run[0], run_id=run[1])
    assert "the disk to which Ray spills decoded frames is full" in str(failure)
    assert "such as /tmp/ray/session_1" in str(failure)
    assert "--temp-dir" in failure.advice
    assert failure.advice.endswith("\nTracebacks are in Ray's logs: /tmp/ray/session_1/logs")


@pytest.mark.parametrize("error", [RunError("why", advice="what to do"), OutputLostError("gone")])
def test_what_a_worker_already_says_as_a_run_would_is_passed_on(run, error):
    assert run_failure(Wrapped(error), run[0], run_id=run[1]) is error


def test_an_output_that_is_gone_or_anothers_goes_before_its_symptoms(run, tmp_path):
    run, run_id = run
    missing = FileNotFoundError(errno.ENOENT, "x", str(tmp_path / "out" / "units" / "b"))
    assert "No such file" in str(run_failure(missing, run, run_id=run_id))
    (tmp_path / "out" / "_run_id").write_text("another")
    assert "was replaced by another run" in str(run_failure(missing, run, run_id=run_id))
    os.unlink(tmp_path / "out" / "_run_id")
    assert "was removed, replaced or unmounted" in str(run_failure(missing, run, run_id=run_id))
