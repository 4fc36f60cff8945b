"""Reads the results of a sweep as arrays, a few units at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.storage.parquet_files import parquet_file

Floats = npt.NDArray[np.float32]

_CHUNK_BYTES = 64 * 1024**2
_MOST_ROWS = 4096
_COLUMNS = ["unit_id", "video_id", "ground_truth", "status", "decode_ms", "sweep"]


@dataclass(frozen=True)
class Sweep:
    """Predictions of all variants for some units, without failed units.

    Attributes:
        unit_ids: (n,)
        video_ids: (n,)
        ground_truths: (n,) labels of the input; None without one.
        probabilities: by variant (n, views, classes), views clip by clip and crop by crop.
        flops: by variant (n,) int64 multiply-accumulates of all views.
        device_ms: by variant (n,) float64 device time of all views, milliseconds.
        decode_ms: (n,) float64 CPU time of fetching and decoding, milliseconds.
        failed: units of this chunk that failed.
    """

    unit_ids: list[str]
    video_ids: list[str]
    ground_truths: list[str | None]
    probabilities: dict[str, Floats]
    flops: dict[str, npt.NDArray[np.int64]]
    device_ms: dict[str, npt.NDArray[np.float64]]
    decode_ms: npt.NDArray[np.float64]
    failed: int = 0


def read_sweep(run: RunDirectory) -> Iterator[Sweep]:
    """Yields the results of a finished sweep, in chunks of bounded size.

    Chunks and units are in the order of the files, which is arbitrary and differs between runs.

    Raises:
        UsageError: the folder holds no finished sweep; raised before the first chunk.
    """
    record = run.load() if run.exists() else None
    if record is None or not record.is_sweep:
        raise UsageError(f"there is no sweep in {run.root.uri}")
    if not run.success.exists():
        raise UsageError(f"the sweep in {run.root.uri} is not finished; resume it")
    return _chunks(run, record)


def _chunks(run: RunDirectory, record: RunRecord) -> Iterator[Sweep]:
    names = sorted(record.identity.variants)
    classes = len(record.model.labels)
    views = record.identity.protocol.views
    rows = max(1, min(_MOST_ROWS, _CHUNK_BYTES // (4 * len(names) * views * classes)))
    for file in run.units.files(".parquet"):
        with parquet_file(file) as units:
            for batch in units.iter_batches(batch_size=rows, columns=_COLUMNS):
                yield _chunk(pa.Table.from_batches([batch]), names, views, classes)


def _chunk(rows: pa.Table, names: list[str], views: int, classes: int) -> Sweep:
    good = rows.filter(pc.equal(rows["status"], "ok"))
    count = good.num_rows
    sweep = pc.list_flatten(good["sweep"]).combine_chunks()
    shape = (count, len(names))
    held = _field(sweep, "variant").reshape(shape)
    if (held != np.array(names, dtype=object)).any():
        raise UsageError(f"the variants of the rows differ from those in run.json, {names}")
    probabilities = pc.list_flatten(pc.struct_field(sweep, "probabilities"))
    said = _numbers(probabilities).reshape(*shape, views, classes)
    flops, device_ms = (_field(sweep, name).reshape(shape) for name in ("flops", "device_ms"))
    return Sweep(
        unit_ids=good["unit_id"].to_pylist(),
        video_ids=good["video_id"].to_pylist(),
        ground_truths=good["ground_truth"].to_pylist(),
        probabilities={name: said[:, place] for place, name in enumerate(names)},
        flops={name: flops[:, place] for place, name in enumerate(names)},
        device_ms={name: device_ms[:, place] for place, name in enumerate(names)},
        decode_ms=_numbers(pc.fill_null(good["decode_ms"], 0.0)),
        failed=rows.num_rows - count,
    )


def _field(sweep: Any, name: str) -> npt.NDArray[Any]:
    return _numbers(pc.struct_field(sweep, name))


def _numbers(column: Any) -> npt.NDArray[Any]:
    return np.asarray(column.to_numpy(zero_copy_only=False))
