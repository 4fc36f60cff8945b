"""The same videos in every form of input, for programs that compare them."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

_PER_SHARD = 50
_COMPARED = ("label", "top_ids", "top_scores", "flops", "tokens_kept", "kept_token_maps")

View = tuple[str, int, int]


def view_rows(output: Path) -> dict[View, tuple[str, ...]]:
    """What is compared of each view of a run, by the video's name without folder, clip and crop.

    A view that stands there twice fails.
    """
    columns = ["video_id", "clip", "crop", *_COMPARED]
    found = {}
    for row in pq.read_table(output / "clips", columns=columns).to_pylist():
        key = PurePosixPath(row["video_id"]).name, row["clip"], row["crop"]
        assert key not in found, key
        found[key] = tuple(str(row[name]) for name in _COMPARED)
    return found


def _videos(archive: Path) -> list[Path]:
    return sorted(archive.rglob("*.mp4"))


def _files(archive: Path, to: Path) -> Path:
    """A folder of links to nothing but the videos."""
    to.mkdir()
    for video in _videos(archive):
        (to / video.name).hardlink_to(video)
    return to


def _list(archive: Path, to: Path) -> Path:
    """A `path label` list as VideoMAE and mmaction2 write it."""
    path = _files(archive, to) / "val.txt"
    lines = (f"{video.name} {at % 7}\n" for at, video in enumerate(_videos(archive)))
    path.write_text("".join(lines))
    return path


def _tars(archive: Path, to: Path) -> Path:
    return _shards(archive, to, "w", "tar")


def _gzipped_tars(archive: Path, to: Path) -> Path:
    return _shards(archive, to, "w:gz", "tar.gz")


def _shards(archive: Path, to: Path, mode: str, extension: str) -> Path:
    to.mkdir()
    for number, part in enumerate(_parts(_videos(archive))):
        with tarfile.open(to / f"shard-{number:06d}.{extension}", mode) as shard:
            for video in part:
                shard.add(video, video.name)
    return to


def _parquet(archive: Path, to: Path) -> Path:
    """Video bytes in a column, as Hugging Face's datasets write them."""
    to.mkdir()
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for number, part in enumerate(_parts(_videos(archive))):
        videos = [{"bytes": video.read_bytes(), "path": video.name} for video in part]
        table = pa.table({"video": pa.array(videos, kind)})
        pq.write_table(table, to / f"test-{number:05d}.parquet", row_group_size=100)
    return to


def _parts(videos: Sequence[Path]) -> Iterator[Sequence[Path]]:
    for at in range(0, len(videos), _PER_SHARD):
        yield videos[at : at + _PER_SHARD]


FORMS: dict[str, Callable[[Path, Path], Path]] = {
    "files": _files,
    "list": _list,
    "tar": _tars,
    "tar.gz": _gzipped_tars,
    "parquet": _parquet,
}
"""Makes a form of the videos below a folder in another folder; returns the INPUT."""
