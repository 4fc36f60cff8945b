"""The same videos as files, as a list, as tars and as Parquet: the same rows, and the time of each.

    python -m tests.scale.input_kinds --videos 200 --rounds 3

Labels the demo's test videos in every form, in turn. Labels, scores, FLOPs and kept-token maps of
all forms must be equal to the bit; then it prints the wall time of each form against that of files.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inputs.demo.archive import ArchiveSettings, make_archive

_JOB = Path(__file__).parents[2] / "jobs" / "label_k400.py"
_COMPARED = ("label", "top_ids", "top_scores", "flops", "tokens_kept", "kept_token_maps")
_PER_SHARD = 50


def main() -> None:
    """Labels every form in turn, compares the rows, and prints the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--views", default="5x3")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        archive = work / "archive"
        make_archive(archive, ArchiveSettings(videos=arguments.videos))
        inputs = {kind: make(archive, work / kind) for kind, make in _FORMS.items()}
        seconds: dict[str, list[float]] = {kind: [] for kind in inputs}
        reference = None
        for number in range(arguments.rounds):
            for kind, source in inputs.items():
                output = work / "output" / f"{kind}-{number}"
                seconds[kind].append(_labeled(source, output, arguments.views))
                rows = dict(_rows(output))
                reference = reference or rows
                if rows != reference:
                    different = [key for key in reference if rows.get(key) != reference[key]]
                    sys.exit(f"{kind}: {len(different)} of {len(reference)} views differ")
        assert reference is not None
        print(f"{len(reference):,} views of {arguments.videos} videos, the same to the bit")
        for kind, taken in seconds.items():
            ratios = [a / b for a, b in zip(taken, seconds["files"], strict=True)]
            print(
                f"{kind:10} {statistics.median(taken):6.1f} s, "
                f"{statistics.median(ratios):.2f} of files"
            )


def _labeled(source: Path, output: Path, views: str) -> float:
    """Seconds of one whole job."""
    command = [sys.executable, str(_JOB), str(source), str(output), "--checkpoint", "demo"]
    begun = time.monotonic()
    done = subprocess.run([*command, "--views", views], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return time.monotonic() - begun


def _rows(output: Path) -> Iterator[tuple[tuple[str, int, int], tuple[object, ...]]]:
    """What is compared of each view, by the video's name without folder, clip and crop."""
    columns = ["video_id", "clip", "crop", *_COMPARED]
    videos = pq.read_table(output / "videos", columns=["video_id", "uri"]).to_pylist()
    assert videos, output
    for row in pq.read_table(output / "clips", columns=columns).to_pylist():
        name = PurePosixPath(row["video_id"]).name
        yield (name, row["clip"], row["crop"]), tuple(map(str, (row[name] for name in _COMPARED)))


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
    to.mkdir()
    path = to / "val.txt"
    path.write_text("".join(f"{video} {at % 7}\n" for at, video in enumerate(_videos(archive))))
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


_FORMS: dict[str, Callable[[Path, Path], Path]] = {
    "files": _files,
    "list": _list,
    "tar": _tars,
    "tar.gz": _gzipped_tars,
    "parquet": _parquet,
}


if __name__ == "__main__":
    main()
