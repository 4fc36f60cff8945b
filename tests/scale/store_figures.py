"""Time and memory that a process pays for its first object, and the rate of reading.

    python -m tests.scale.store_figures

Starts the tests' S3 server. Each way runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.object_storage import object_storage

_BUCKET = "figures"
_BYTES = 256 << 20

_WAYS = {
    "boto3": """
import os, boto3
client = boto3.session.Session().client("s3")
def get(key):
    file = os.memfd_create("video")
    body = client.get_object(Bucket="figures", Key=key)["Body"]
    while chunk := body.read(1 << 20):
        os.write(file, chunk)
""",
    "this program": """
import os
from sta.transport.retry import VIDEOS
from sta.transport.objects import open_object
def get(key):
    file = os.memfd_create("video")
    for chunk in open_object(f"s3://figures/{key}", policy=VIDEOS).chunks:
        os.write(file, chunk)
""",
}
_MEASURE = """
import time
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) / 256
begun, before = time.perf_counter(), resident()
WAY
get("small")
first, small = time.perf_counter() - begun, resident() - before
begun, used = time.perf_counter(), time.process_time()
get("large")
seconds, used = time.perf_counter() - begun, time.process_time() - used
print(f"first object {first:.2f} s, {small:.0f} MiB; 256 MiB {seconds:.2f} s, CPU {used:.2f} s")
"""


def main() -> None:
    """Prints a line for each way."""
    with tempfile.TemporaryDirectory() as folder, object_storage(Path(folder)) as server:
        client = server.client()
        client.create_bucket(Bucket=_BUCKET)
        client.put_object(Bucket=_BUCKET, Key="small", Body=b"x")
        client.put_object(Bucket=_BUCKET, Key="large", Body=bytes(_BYTES))
        environment = os.environ | server.environment | {"PYTHONPATH": os.getcwd()}
        for _ in range(2):  # the second time the files of the libraries are in the cache
            for name, way in _WAYS.items():
                code = _MEASURE.replace("WAY", way)
                done = subprocess.run(
                    [sys.executable, "-c", code],
                    env=environment, capture_output=True, text=True, check=True,
                )  # fmt: skip
                print(f"{name}: {done.stdout.strip()}")


if __name__ == "__main__":
    main()
