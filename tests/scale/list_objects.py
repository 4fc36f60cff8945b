"""Time and memory of listing many objects.

    python -m tests.scale.list_objects --objects 100000

Starts the tests' S3 server, fills a bucket with objects of a byte, lists it into a manifest.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.inputs.listing import Listing
from pipeline.inputs.manifest import write_manifest
from pipeline.storage.location import Location
from tests.object_storage import ObjectStorage, object_storage

_BUCKET = "archive"


def main() -> None:
    """Fills, lists, and prints times, rates and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=8)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        object_storage(Path(folder)) as server,
    ):
        os.environ.update(server.environment)
        begun = time.monotonic()
        _fill(server, arguments.objects, arguments.threads)
        print(f"{server.kind}: {arguments.objects:,} objects in {time.monotonic() - begun:.0f} s")
        before = _peak_mib()
        begun = time.monotonic()
        listing = Listing(f"s3://{_BUCKET}/videos", report=lambda n: print(f"listed {n:,} videos"))
        written = write_manifest(listing.videos(), Location.of(f"{folder}/manifest"))
        seconds = time.monotonic() - begun
        print(
            f"{written.videos:,} videos listed into a manifest in {seconds:.1f} s "
            f"({written.videos / seconds:,.0f} per second); "
            f"peak memory {before:.0f} MiB before, {_peak_mib():.0f} MiB after"
        )


def _fill(server: ObjectStorage, objects: int, threads: int) -> None:
    client = server.client()
    client.create_bucket(Bucket=_BUCKET)

    def put(number: int) -> None:
        key = f"videos/camera-{number % 40:02d}/{number:08d}.mp4"
        client.put_object(Bucket=_BUCKET, Key=key, Body=b"x")

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(put, range(objects)):
            pass


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
