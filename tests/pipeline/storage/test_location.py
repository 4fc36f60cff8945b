"""Folders on disk and in object storage: the same interface, credentials and retries."""

import contextlib
import http.server
import json
import os
import pickle
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from ray.data._internal.datasource.parquet_datasink import ParquetDatasink
from ray.data.checkpoint import CheckpointConfig

from pipeline.errors import UsageError
from pipeline.inputs.listing import Listing
from pipeline.storage.location import Location
from pipeline.storage.object_files import ObjectFiles
from sta.transport.object_address import object_address
from sta.transport.retry import RUN_FILES, RetryPolicy
from sta.transport.store import store_of
from tests.object_storage import KEY_NAMES, free_port

TABLE = pa.table({"a": np.random.default_rng(0).integers(2**62, size=100_000)})


@pytest.fixture(scope="module")
def bucket(object_storage):
    """The folder of a bucket with a table in it."""
    object_storage.client().create_bucket(Bucket="storage")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in object_storage.environment.items():
            patch.setenv(name, value)
        write_table("s3://storage/table.parquet")
    return "s3://storage"


def write_table(uri, table=TABLE):
    filesystem, path = Location.of(uri).filesystem()
    pq.write_table(table, path, filesystem=filesystem)


def read_table(uri):
    filesystem, path = Location.of(uri).filesystem()
    return pq.read_table(path, filesystem=filesystem, partitioning=None)


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIA:hidden@bucket/x",
        "s3://AKIA:hid/den@bucket/x",
        "s3://hidden@bucket",
        "s3://bucket/x?X-Amz-Expires=60&X-Amz-Signature=hidden",
        "https://user:hidden@host/x",
        "https://bucket.s3.amazonaws.com/x?X-Amz-Credential=hidden",
    ],
)
def test_an_address_with_credentials_is_refused_without_repeating_them(address):
    with pytest.raises(UsageError, match="name s3://bucket/prefix and set AWS_ACCESS") as refused:
        Location.of(address)
    assert "hid" not in str(refused.value)


@pytest.mark.parametrize("address", ["s3://bucket/me@home: x?y=1#z", "s3://b.u-c_ket"])
def test_signs_of_credentials_within_a_key_are_none(address):
    assert Location.of(address).uri == address


@pytest.mark.parametrize("key", ["a b", "50%", "50%20", "#1", "x?y=1", "x;y", "ü+ö", "a@b:c", "=&"])
def test_objects_lie_under_the_very_key_that_is_named(bucket, s3, key, object_storage):
    if object_storage.kind == "moto" and " " in key:
        pytest.skip("moto refuses obstore's signature of a prefix with a blank, which Ceph takes")
    folder = Location.of(f"{bucket}/{key}")
    folder.check_writable()
    folder.child("one").write_bytes(b"1")
    assert s3.get_object(Bucket="storage", Key=f"{key}/one")["Body"].read() == b"1"
    write_table(f"{folder.uri}/t.parquet")
    assert read_table(f"{folder.uri}/t.parquet").equals(TABLE)
    assert [file.uri for file in folder.files(".parquet")] == [f"{bucket}/{key}/t.parquet"]
    assert folder.child("one").exists()
    assert not folder.child("two").exists()


def test_ray_data_takes_the_storage_and_does_not_go_on_with_one_of_its_own(bucket, s3):
    filesystem, path = Location.of(f"{bucket}/a b/50%#1").filesystem()
    sink = ParquetDatasink(path, filesystem=filesystem)
    assert (sink.path, sink.filesystem.unwrap().handler) == (path, filesystem.handler)
    config = CheckpointConfig("id", path, override_filesystem=filesystem)
    assert isinstance(config.filesystem.handler, ObjectFiles)


def test_nothing_but_what_was_written_is_in_the_bucket(s3):
    s3.create_bucket(Bucket="clean")
    folder = Location.of("s3://clean/run/units")
    folder.check_writable()
    filesystem, path = folder.filesystem()
    filesystem.create_dir(path, recursive=True)
    write_table(f"{folder.uri}/t.parquet")
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="clean")["Contents"]]
    assert [key for key in keys if not key.endswith("/")] == ["run/units/t.parquet"]


def test_a_bucket_that_is_not_there_is_no_place_to_write(s3):
    with pytest.raises(
        UsageError, match="^cannot write to s3://absent/x: there is no such bucket$"
    ):
        Location.of("s3://absent/x").check_writable()


def test_what_may_not_be_read_is_said_in_one_line_with_its_address(bucket, s3, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    place = Location.of(f"{bucket}/x")
    for look in (place.exists, place.read_bytes, lambda: place.files(".parquet")):
        with pytest.raises(
            OSError, match=r"^cannot read s3://storage/x: (access denied|the secret key)[^\n]*$"
        ):
            look()


@pytest.mark.slow
def test_a_storage_sent_to_a_worker_stays_as_patient_and_takes_no_credentials_along(
    bucket, unreliable_s3, object_storage
):
    filesystem, _ = Location.of(bucket).filesystem()
    filesystem.get_file_info("storage")
    sent = pickle.dumps(filesystem)
    assert not any(key.encode() in sent for key in object_storage.keys)
    unreliable_s3.spoil_first(4, "busy")  # one more than Arrow is patient by itself
    assert pickle.loads(sent).get_file_info("storage/table.parquet").size > 0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["busy", "cut"])
def test_answers_that_are_refused_or_cut_off_are_asked_for_again(bucket, unreliable_s3, how):
    unreliable_s3.spoil_first(4, how)
    assert read_table(f"{bucket}/table.parquet").equals(TABLE)
    unreliable_s3.spoil_first(4, how)
    large = pa.concat_tables([TABLE] * 30)
    write_table(f"{bucket}/{how}.parquet", large)
    assert unreliable_s3.spoil("any", "") is None, "all four were spoilt"
    assert read_table(f"{bucket}/{how}.parquet").equals(large)


READ_AND_END = """
import sys
import pyarrow.parquet as pq
from pipeline.storage.location import Location
filesystem, path = Location.of(sys.argv[1]).filesystem()
pq.read_table(path, filesystem=filesystem, partitioning=None)
"""


@pytest.mark.slow
def test_a_process_that_ends_right_after_reading_ends_well(bucket, s3):
    """Arrow's threads, which read ahead, must hold nothing of Python then."""
    write_table(f"{bucket}/ahead.parquet", pa.concat_tables([TABLE] * 30))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(6):
        done = subprocess.run(
            [sys.executable, "-c", READ_AND_END, f"{bucket}/ahead.parquet"],
            capture_output=True, text=True, timeout=100, check=False, env=environment,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["busy", "cut"])
def test_a_small_file_is_read_by_one_request_which_is_made_again(bucket, unreliable_s3, how):
    file = Location.of(f"{bucket}/small")
    file.write_bytes(b"x" * 100)
    unreliable_s3.requests.clear()
    assert file.read_bytes() == b"x" * 100
    # Two requests would tell of two files where another program replaces or deletes it meanwhile.
    assert [method for method, _ in unreliable_s3.requests] == ["GET"]
    unreliable_s3.spoil_first(3, how)
    assert file.read_bytes() == b"x" * 100
    assert unreliable_s3.spoil("any", "") is None, "all three were spoilt"
    with pytest.raises(FileNotFoundError):
        file.child("none").read_bytes()


@pytest.mark.slow
def test_ten_seconds_without_the_storage_are_waited_for(bucket, s3, object_storage):
    def away_during(step):
        object_storage.stop()
        back = threading.Timer(10, object_storage.start)
        back.start()
        try:
            return step()
        finally:
            back.join()

    assert away_during(lambda: read_table(f"{bucket}/table.parquet")).equals(TABLE)
    away_during(lambda: write_table(f"{bucket}/later.parquet"))
    assert read_table(f"{bucket}/later.parquet").equals(TABLE)


@pytest.fixture
def found_by_profile(s3, object_storage, monkeypatch, tmp_path):
    """Writes a profile, which alone says where the storage is; gives the function that does so."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "night")

    def write(**more):
        settings = {
            "region": "us-east-1",
            "endpoint_url": object_storage.endpoint,
            "request_checksum_calculation": "when_required",
        }
        lines = [f"{name} = {value}" for name, value in (settings | more).items()]
        (tmp_path / "config").write_text("\n".join(["[profile night]", *lines, ""]))

    return write


USE = """
import sys
from pipeline.inputs.listing import Listing
from pipeline.storage.location import Location
Location.of(sys.argv[1]).child("x.mp4").write_bytes(b"written")
print(*[video.video_id for video in Listing(sys.argv[1]).videos()])
print(Location.of(sys.argv[1]).child("x.mp4").read_bytes().decode())
"""


def listed_read_and_written(bucket):
    """Whether boto3 and Arrow both get at the storage, in a process of its own.

    Arrow's part reads configuration files once per process.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", USE, bucket],
        capture_output=True, text=True, timeout=900, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout == "x.mp4\nwritten\n"


def test_a_profile_says_where_the_storage_is_and_who_asks(
    bucket, object_storage, found_by_profile, tmp_path
):
    names = map(str.lower, KEY_NAMES)
    lines = [f"{name} = {key}" for name, key in zip(names, object_storage.keys, strict=True)]
    (tmp_path / "credentials").write_text("\n".join(["[night]", *lines, ""]))
    found_by_profile()
    assert listed_read_and_written(bucket)


def test_credentials_that_a_program_gives_are_taken_anew_when_they_were_renewed(
    bucket, object_storage, found_by_profile, tmp_path
):
    now = datetime.now(UTC)

    def give(secret, lasting):
        answer = {
            "Version": 1,
            "AccessKeyId": object_storage.keys[0],
            "SecretAccessKey": secret,
            "Expiration": (now + timedelta(seconds=lasting)).isoformat(),
        }
        (tmp_path / "answer").write_text(json.dumps(answer))

    program = tmp_path / "give.py"
    program.write_text("import sys; print(open(sys.argv[1]).read())")
    found_by_profile(credential_process=f"{sys.executable} {program} {tmp_path / 'answer'}")
    with pytest.raises(UsageError, match="cannot list .*: custom-process returned no credentials"):
        list(Listing(bucket).videos())
    filesystem, _ = Location.of(bucket).filesystem()
    give(object_storage.keys[1], lasting=-1)
    with pytest.raises(OSError, match="expired"):
        filesystem.get_file_info("storage/table.parquet")
    give("wrong", lasting=60)
    with pytest.raises(OSError, match="403"):
        filesystem.get_file_info("storage/table.parquet")
    give(object_storage.keys[1], lasting=36000)
    assert filesystem.get_file_info("storage/table.parquet").type == pafs.FileType.File
    address = object_address(bucket)
    renewed = store_of(address, RUN_FILES)
    assert store_of(address, RUN_FILES) is renewed, "built anew only when the keys are new"
    assert listed_read_and_written(bucket)


@contextmanager
def metadata_server(keys):
    """What a machine of a cloud asks for the credentials of its role."""
    role = "/latest/meta-data/iam/security-credentials"
    given = {
        "Code": "Success",
        "Type": "AWS-HMAC",
        **dict(zip(("AccessKeyId", "SecretAccessKey"), keys, strict=True)),
        "Token": "",
        "LastUpdated": "2026-01-01T00:00:00Z",
        "Expiration": "2126-01-01T00:00:00Z",
    }
    answers = {
        "/latest/api/token": "token",
        role: "night",
        f"{role}/": "night",
        f"{role}/night": json.dumps(given),
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            said = answers.get(self.path)
            self.send_response(404 if said is None else 200)
            body = (said or "").encode()
            self.send_header("Content-Length", str(len(body)))
            self.send_header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
            with contextlib.suppress(BrokenPipeError):  # it asks again where this took too long
                self.end_headers()
                self.wfile.write(body)

        do_GET = do_PUT = answer  # noqa: N815

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_the_role_of_a_machine_is_enough(bucket, object_storage, found_by_profile, monkeypatch):
    found_by_profile()
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with metadata_server(object_storage.keys) as address:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)
        assert listed_read_and_written(bucket)


def test_without_any_credentials_the_ways_to_give_some_are_named(bucket, found_by_profile):
    found_by_profile()
    with pytest.raises(UsageError, match="cannot list .*: no credentials found; set AWS_ACCESS"):
        list(Listing(bucket).videos())
    with pytest.raises(UsageError, match="cannot write to .*: no credentials found; set AWS_ACC"):
        Location.of(bucket).check_writable()


def test_a_profile_that_is_not_there_is_named(bucket, found_by_profile, monkeypatch):
    found_by_profile()
    monkeypatch.setenv("AWS_PROFILE", "day")
    with pytest.raises(UsageError, match="cannot list .*profile .day. could not be found"):
        list(Listing(bucket).videos())
    with pytest.raises(UsageError, match="cannot write to .*profile .day. could not be found"):
        Location.of(bucket).check_writable()


def test_a_server_that_is_not_there_is_one_line(s3, monkeypatch):
    monkeypatch.setattr("pipeline.storage.object_files.RUN_FILES", RetryPolicy(max_failures=2))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(
        UsageError, match=r"^cannot write to s3://any/x: the storage at 127\.0\.0\.1:"
    ):
        Location.of("s3://any/x").check_writable()


def test_half_written_files_of_killed_runs_are_neither_parts_nor_strangers(tmp_path):
    folder = Location.of(str(tmp_path))
    (tmp_path / "part-00000.parquet").touch()
    (tmp_path / ".writing-0123456789abcdef").touch()
    assert folder.holds_only_parts()
    assert [file.name for file in folder.files(".parquet")] == ["part-00000.parquet"]
    assert folder.sweep() == 1
    (tmp_path / ".writing-0123456789abcdef").touch()
    folder.delete_parts()
    assert list(tmp_path.iterdir()) == []
