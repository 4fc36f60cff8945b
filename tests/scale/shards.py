"""Time to list, read and decode small videos: as files, in tar shards and in gzipped ones.

    python -m tests.scale.shards --videos 5000
    python -m tests.scale.shards --videos 5000 --storage

With `--storage` they lie in an S3 server on loopback, see `tests.object_storage`. Videos are read
in the order of a manifest: the largest first, so not as they lie in their shard.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.inputs.listing import Listing
from pipeline.inputs.video import Video
from pipeline.storage.location import Location
from tests.object_storage import object_storage
from tests.videos import write_video
from workers.decoding import SandboxedDecoder, Unit
from workers.failures import UnitFailure
from workers.io.fetching import open_source
from workers.sampling import protocol

_A_SHARD = 1000


def main() -> None:
    """Prints a line for each form of the same videos."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--videos", type=int, default=5000)
    parser.add_argument("--decoded", type=int, default=500)
    parser.add_argument("--storage", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = write_video(folder / "one.mp4", frames=60).read_bytes()
        print(f"{options.videos:,} videos of about {len(one):,} bytes")
        for form in ("files", "tar", "tar.gz"):
            _write(folder / form, form, one, options.videos)
        with _addresses(folder, storage=options.storage) as base:
            for form in ("files", "tar", "tar.gz"):
                _measure(form, f"{base}/{form}", folder / "indexes", options.decoded)


def _write(folder: Path, form: str, one: bytes, count: int) -> None:
    folder.mkdir()
    sizes = random.Random(0)
    names = (f"{number:06d}.mp4" for number in range(count))
    contents = ((name, one + sizes.randbytes(sizes.randrange(60_000))) for name in names)
    if form == "files":
        for name, content in contents:
            (folder / name).write_bytes(content)
        return
    number = 0
    while shard := list(islice(contents, _A_SHARD)):
        mode: Any = "w:gz" if form == "tar.gz" else "w"
        with tarfile.open(folder / f"{number:03d}.{form}", mode) as archive:
            for name, content in shard:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        number += 1


@contextmanager
def _addresses(folder: Path, *, storage: bool) -> Iterator[str]:
    if not storage:
        yield str(folder)
        return
    place = folder / "server"
    place.mkdir()
    with object_storage(place) as server:
        os.environ.update(server.environment)
        client = server.client()
        client.create_bucket(Bucket="scale")
        for form in ("files", "tar", "tar.gz"):
            for file in (folder / form).iterdir():
                client.upload_file(str(file), "scale", f"{form}/{file.name}")
        print(f"in {server.kind}")
        yield "s3://scale"


def _measure(form: str, source: str, indexes: Path, decoded: int) -> None:
    began = time.perf_counter()
    videos = list(Listing(source, gzip_indexes=Location(str(indexes))).videos())
    listing_s = time.perf_counter() - began
    videos.sort(key=lambda video: -(video.size_bytes or 0))
    began = time.perf_counter()
    for video in videos:
        with open_source(video.uri, part=video.part, etag=video.etag) as source_:
            source_.read_at(0, source_.size)
    reading_s = time.perf_counter() - began
    decoding_s = _decode(videos[:decoded])
    print(
        f"{form:7} listing {listing_s:6.2f} s   reading {1e3 * reading_s / len(videos):6.2f} ms "
        f"a video   decoding {1e3 * decoding_s / decoded:6.2f} ms a video"
    )


def _decode(videos: list[Video]) -> float:
    with SandboxedDecoder(protocol("videomae-k400", size=112)) as decoder:
        began = time.perf_counter()
        for video in videos:
            unit = Unit("u", video.video_id, video.uri, part=video.part, etag=video.etag)
            found = decoder.decode(unit)
            assert not isinstance(found, UnitFailure), found
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
