"""Earlier runs, and the videos of an input that they labeled: what `--since` leaves out.

A video stands as labeled while its uri, its part, its size and its ETag are those of the earlier
run's manifest. A file has no ETag, so it must not have been modified since the run began either.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.inputs.video import Video
from pipeline.run.commits import confirmed_files
from pipeline.run.differences import differences
from pipeline.run.identity import Identity
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import parquet_file
from workers.io.fetching import file_version
from workers.io.parts import without_index

# Fields of an identity that choose videos or add columns, and change no label; and the precision,
# which changes labels as little as another kind of machine does.
_FREE = {
    *("input", "limit", "sample", "all_files", "follow_links", "lists", "since"),
    *("shadow_share", "unit_schema", "precision", "embeddings", "relabeled"),
}
_KEY = ("uri", "part", "size_bytes", "etag")

# 80 bits, like the ids of units: of 100 million videos, one in 100 million such inputs would miss
# one that is new.
_DIGEST_BYTES = 10
_AT_ONCE = 4096

_Digests = npt.NDArray[np.bytes_]


class EarlierRuns:
    """The runs whose labeled videos are left out, those that they themselves left out included.

    Attributes:
        runs: the runs, each once.
    """

    def __init__(self, runs: Sequence[RunDirectory] = ()) -> None:
        self.runs = tuple(runs)

    @classmethod
    def of(cls, named: Sequence[str], identity: Identity, output: Location) -> EarlierRuns:
        """The runs that were named, and those that were named when they were made, in turn.

        Args:
            named: addresses of OUTPUT folders.
            identity: of the run that leaves their videos out.
            output: where this run goes.

        Raises:
            UsageError: one is no run, or was labeled by another model or with other settings.
        """
        asked = _labeling(identity)
        found: dict[str, RunDirectory] = {}
        waiting = [(Location.of(each).resolved(), "--since") for each in named]
        while waiting:
            place, named_by = waiting.pop()
            if place.uri == output.resolved().uri:
                raise UsageError(f"--since {place.uri} is OUTPUT itself; name an earlier run")
            if place.uri in found:
                continue
            run = RunDirectory(place)
            record = _record(run, named_by)
            differing = differences(
                _labeling(record.identity), asked, places=("in that run", "now")
            )
            if differing:
                raise UsageError(
                    f"--since leaves out what was labeled in the same way, and {place.uri} was "
                    f"not: {'; '.join(differing)}. Use the same settings, or leave --since out"
                )
            found[place.uri] = run
            waiting += [(Location.of(each), place.uri) for each in record.identity.since]
        return cls(list(found.values()))

    def new(self, videos: Iterable[Video], left_out: LeftOut) -> Iterator[Video]:
        """The videos that none of the runs labeled as they are now; the others are counted."""
        if not self.runs:
            yield from videos
            return
        labeled = [_Labeled.of(run) for run in self.runs]
        videos = iter(videos)
        while part := list(islice(videos, _AT_ONCE)):
            digests = _digests(
                (video.uri, video.part, video.size_bytes, video.etag) for video in part
            )
            known = [each.among(digests) for each in labeled]
            for number, video in enumerate(part):
                runs = [each for each, has in zip(labeled, known, strict=True) if has[number]]
                if runs and _stands(video, max(each.began for each in runs)):
                    left_out.add(video)
                else:
                    yield video


@dataclass
class LeftOut:
    """Counts of the videos that earlier runs labeled.

    Attributes:
        videos: all of them.
        by_address: those of a store whose list gives neither size nor ETag.
    """

    videos: int = 0
    by_address: int = 0

    def add(self, video: Video) -> None:
        """Counts one."""
        self.videos += 1
        known = video.size_bytes is not None or video.etag is not None
        self.by_address += not known and not _is_file(video.uri)


@dataclass(frozen=True)
class _Labeled:
    """Digests of the videos that a run labeled, sorted, and the time when it began to list them."""

    digests: _Digests
    began: float

    @classmethod
    def of(cls, run: RunDirectory) -> _Labeled:
        record = run.load()
        times = [attempt.began for attempt in record.attempts[:1]]
        began = min(times, default=datetime.datetime.fromtimestamp(0, datetime.UTC))
        return cls(_labeled_digests(run), began.timestamp())

    def among(self, digests: _Digests) -> npt.NDArray[np.bool_]:
        if not len(self.digests):
            return np.zeros(len(digests), np.bool_)
        places = np.searchsorted(self.digests, digests)
        return np.asarray(self.digests[np.minimum(places, len(self.digests) - 1)] == digests)


def _labeled_digests(run: RunDirectory) -> _Digests:
    """Of the videos whose units all have a row, of which no more than half failed."""
    ok, failed = _units(run)
    parts: list[_Digests] = []
    states: list[npt.NDArray[np.int8]] = []
    for batch in _batches(run.manifest.files(".parquet"), ["unit_id", *_KEY]):
        units = _binary(batch["unit_id"])
        parts.append(_digests(zip(*(batch[name].to_pylist() for name in _KEY), strict=True)))
        states.append(np.where(_in(units, ok), 1, np.where(_in(units, failed), -1, 0)))
    if not parts:
        return np.zeros(0, f"S{_DIGEST_BYTES}")
    digests, video_of, count = np.unique(
        np.concatenate(parts), return_inverse=True, return_counts=True
    )
    state = np.concatenate(states)
    labeled = np.bincount(video_of, weights=state == 1)
    rows = np.bincount(video_of, weights=state != 0)
    return np.asarray(digests[(rows == count) & (2 * labeled >= count)])


def _units(run: RunDirectory) -> tuple[_Digests, _Digests]:
    """Sorted ids of the labeled and of the failed units."""
    ok, failed = [np.zeros(0, f"S{_DIGEST_BYTES}")], [np.zeros(0, f"S{_DIGEST_BYTES}")]
    files = run.units.files(".parquet") if run.success.exists() else confirmed_files(run)
    for batch in _batches(files, ["unit_id", "status"]):
        is_ok = pc.equal(batch["status"], "ok")
        ok.append(_binary(batch["unit_id"].filter(is_ok)))
        failed.append(_binary(batch["unit_id"].filter(pc.invert(is_ok))))
    return np.sort(np.concatenate(ok)), np.sort(np.concatenate(failed))


def _batches(files: Iterable[Location], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Rows of the files that are whole: of an unfinished run others may be written right now."""
    for file in files:
        lost = suppress(FileNotFoundError, pa.ArrowInvalid)
        with lost, parquet_file(file) as opened:
            yield from opened.iter_batches(_AT_ONCE, columns=columns)


def _binary(ids: pa.Array) -> _Digests:
    """Ids of units, which are hexadecimal, as bytes."""
    joined = "".join(ids.to_pylist())
    return np.frombuffer(bytes.fromhex(joined), f"S{_DIGEST_BYTES}")


def _in(ids: _Digests, among: _Digests) -> npt.NDArray[np.bool_]:
    return _Labeled(among, 0.0).among(ids)


def _digests(keys: Iterable[tuple[Any, ...]]) -> _Digests:
    """A digest of each uri, part, size and ETag."""
    same = ((uri, without_index(part), *version) for uri, part, *version in keys)
    made = b"".join(
        hashlib.blake2b(repr(key).encode(), digest_size=_DIGEST_BYTES).digest() for key in same
    )
    return np.frombuffer(made, f"S{_DIGEST_BYTES}")


def _stands(video: Video, began: float) -> bool:
    """Whether a file was not modified since a run began; of objects the ETag told already."""
    if not _is_file(video.uri):
        return True
    version = file_version(video.uri)
    return bool(version) and version[2] < began * 1e9


def _is_file(uri: str) -> bool:
    return "://" not in uri or uri.lower().startswith("file://")


def _record(run: RunDirectory, named_by: str) -> RunRecord:
    try:
        run.check_labels()
        return run.load()
    except (UsageError, OSError) as error:
        why = f"{named_by} names {run.root.uri}, whose labeled videos are left out: {error}"
        raise UsageError(
            f"{why}. Of such a run run.json, manifest/ and units/ are needed"
        ) from error


def _labeling(identity: Identity) -> dict[str, object]:
    """The settings that decide what the label of a video is."""
    return {name: each for name, each in identity.to_json().items() if name not in _FREE}
