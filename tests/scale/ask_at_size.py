"""Time and memory of questions to an archive of 100 million videos, whose labels are made.

    python -m tests.scale.ask_at_size

Tells what a list of a million videos takes to be listed, writes the manifest (about 40 bytes a row,
twice with a proxy) to a temporary folder, and asks each question in a process of its own. Nothing
is decoded or labeled by a model; all else is as in jobs/ask.py: samples are drawn from the
manifest, rows are committed, tables are built and verified, and intervals close in. A video's label
and its proxy's follow from its id. One camera has a thousandth of the videos.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.inputs.listing import Listing
from pipeline.inputs.manifest import MANIFEST_SCHEMA, write_manifest
from pipeline.inputs.video import Video
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.pruning_flags import PruningFlags
from pipeline.questions import series
from pipeline.questions.inquiry import Asked, answer_question
from pipeline.questions.question import Question
from pipeline.run.commits import commit_rows
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.run.sampled import tables_to_label
from pipeline.run.tables import build_tables
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import read_parquet
from pipeline.storage.parquet_parts import PartWriter
from pipeline.verify.verify import verify
from tests.run_records import run_record
from tests.scale.peak_memory import peak_mib
from workers.schema import UNITS_SCHEMA

_LABELS = ("falling", "other")
_SHARE, _AGREEMENT = 0.05, 0.985
_ROWS_PER_FILE = 100_000
_ID_BYTES = 10
_DAYS = 365
_LISTED = 1_000_000


@dataclasses.dataclass(frozen=True)
class _Case:
    """A question and how it is asked."""

    text: str
    within: float
    by: str | None = None
    proxy: bool = False


_CASES = (
    _Case("share of falling", 0.005),
    _Case("share of falling", 0.005, proxy=True),
    _Case("share of falling", 0.02, by="prefix", proxy=True),
    _Case("rate of falling per hour", 2.0, by="prefix"),
)


def write_rows(folder: Location, rows: int) -> None:
    """A manifest of so many videos of 10 cameras, with random ids."""
    random = np.random.default_rng(0)
    with PartWriter(folder, MANIFEST_SCHEMA, _ROWS_PER_FILE) as parts:
        for first in range(0, rows, _ROWS_PER_FILE):
            number = np.arange(first, min(rows, first + _ROWS_PER_FILE))
            camera = np.where(number % 1000 == 0, 9, number % 9)
            names = pc.binary_join_element_wise(
                pa.array(np.array([f"cam-{each}" for each in range(10)])[camera]),
                pa.array(number % _DAYS).cast(pa.string()),
                pc.binary_join_element_wise(pa.array(number).cast(pa.string()), "mp4", "."),
                "/",
            )
            uris = pc.binary_join_element_wise("s3://archive", names, "/")
            table = _table(
                MANIFEST_SCHEMA, len(number), unit_id=_ids(random, len(number)), video_id=names
            )
            place = table.schema.get_field_index("uri")
            parts.write(table.set_column(place, MANIFEST_SCHEMA.field("uri"), uris))


def _ids(random: np.random.Generator, count: int) -> pa.Array:
    """Random ids of units, as texts."""
    digits = random.bytes(_ID_BYTES * count).hex()
    offsets = np.arange(count + 1, dtype=np.int32) * 2 * _ID_BYTES
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(digits.encode()))


def _table(schema: pa.Schema, count: int, **columns: Any) -> pa.Table:
    """The columns, and null or an empty text in the others."""
    arrays = []
    for field in schema:
        if field.name in columns:
            arrays.append(pa.array(columns[field.name], field.type))
        elif field.nullable:
            arrays.append(pa.nulls(count, field.type))
        else:
            arrays.append(pa.array([""] * count, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _part(ids: np.ndarray, first: int) -> np.ndarray:
    """(n,) a uniform number that four digits of each id make."""
    return np.array([int(each[first : first + 4], 16) for each in ids]) / 16**4


class _MadeLabeling:
    """What `pipeline.questions.series` takes from a labeling job.

    Attributes:
        manifest: folder of the rows, which a run begins with.
        seconds: of labeling: rows, tables and verification.
    """

    def __init__(self, manifest: Location) -> None:
        self.manifest = manifest
        self.seconds = 0.0

    def plan(self, options: LabelOptions) -> Any:
        pruned = options.pruning.r != 0
        identity = run_record({"identity": {"pruning": {"r": 4 if pruned else 0}}}).identity
        protocol = dataclasses.replace(identity.protocol, clips=1 if pruned else 5)
        flops = 1000 if pruned else 4000
        return SimpleNamespace(
            run=RunDirectory(Location.of(options.output)),
            identity=dataclasses.replace(identity, protocol=protocol),
            model=run_record({"model": {"labels": _LABELS, "flops_per_view": flops}}).model,
            protocol=protocol,
        )

    def begin(self, plan: Any, options: LabelOptions, **given: Any) -> None:
        # A folder of the same files: the manifest is not what is measured.
        folder = Path(plan.run.manifest.uri)
        folder.mkdir(parents=True)
        for part in self.manifest.files(".parquet"):
            os.link(part.uri, folder / part.name)
        plan.run.create(RunRecord(identity=plan.identity, model=plan.model))

    def label(self, plan: Any, options: LabelOptions, *, sample: str | None) -> RunRecord:
        began = time.monotonic()
        run = plan.run
        run.save(dataclasses.replace(run.load(), sample=sample))
        for folder in (run.units, run.checkpoint):
            Path(folder.uri).mkdir(exist_ok=True)
        done = {
            each
            for file in run.units.files(".parquet")
            for each in read_parquet(file, ["unit_id"])["unit_id"].to_pylist()
        }
        for number, table in enumerate(tables_to_label(run, ["unit_id", "video_id", "uri"])):
            new = [each not in done for each in table["unit_id"].to_pylist()]
            rows = self._rows(table.filter(pa.array(new)), pruned=plan.identity.is_pruned)
            if rows.num_rows:
                commit_rows(run, f"{len(done):09d}{number:04d}_000000", rows)
        totals = build_tables(run)
        run.save(dataclasses.replace(run.load(), totals=totals))
        problems = [each.problem for each in verify(run) if each.problem]
        assert not problems, problems
        run.success.write_bytes(b"")
        self.seconds += time.monotonic() - began
        return run.load()

    def _rows(self, table: pa.Table, *, pruned: bool) -> pa.Table:
        ids = np.array(table["unit_id"].to_pylist())
        count = len(ids)
        label = (_part(ids, 12) >= _SHARE).astype(np.int64)
        if pruned:
            label = np.where(_part(ids, 16) < _AGREEMENT, label, 1 - label)
        scores = np.eye(2, dtype=np.float32)[label] * 0.8 + 0.1
        flops, views = (1000, 1) if pruned else (4000, 5)
        view = {"start_s": 0.0, "end_s": 1.0, "flops": flops, "crop": 0}
        return _table(
            UNITS_SCHEMA,
            count,
            unit_id=table["unit_id"],
            video_id=table["video_id"],
            uri=table["uri"],
            status=["ok"] * count,
            label=[_LABELS[each] for each in label],
            label_id=label,
            score=scores.max(axis=1),
            scores=list(scores),
            top_ids=[[each, 1 - each] for each in label.tolist()],
            top_scores=[[0.9, 0.1]] * count,
            duration_s=np.full(count, 10.0),
            flops=np.full(count, flops * views),
            views=[[view | {"clip": clip} for clip in range(views)]] * count,
        )


def _ask(case: _Case, manifest: str, output: str) -> tuple[float, float, float, str]:
    """Seconds, seconds of them for labeling, peak memory, and the answer."""
    made = _MadeLabeling(Location.of(manifest))
    reference = LabelOptions(
        "k400", "s3://archive", f"{output}/reference", "demo", pruning=PruningFlags(r=0)
    )
    proxy = dataclasses.replace(reference, output=f"{output}/proxy", pruning=PruningFlags(r=4))
    asked = Asked(
        Question.parse(case.text),
        reference,
        proxy if case.proxy else None,
        within=case.within,
        alpha=0.05,
        output=output,
        by=case.by,
    )
    began = time.monotonic()
    with (
        mock.patch.object(series, "plan_labeling", made.plan),
        mock.patch.object(series, "begin_run", made.begin),
        mock.patch.object(series, "label", made.label),
    ):
        answer = answer_question(asked, confidence=0.95)
    last = answer.sources[0].looks[-1]
    first = answer.estimates[0]
    said = (
        f"{len(answer.sources[0].looks)} rounds, {last.reference:,} references, {last.proxy:,} "
        f"scores: {first.value:.4f} ({first.low:.4f} to {first.high:.4f})"
    )
    return time.monotonic() - began, made.seconds, peak_mib(), said


def _listed(folder: str) -> tuple[float, float]:
    """Core-microseconds a video to read a list to its end, and to list it to a manifest."""
    numbers = pa.array(np.arange(_LISTED)).cast(pa.string())
    uris = pc.binary_join_element_wise("s3://archive/cam-1", numbers, "/")
    pq.write_table(pa.table({"uri": uris}), f"{folder}/list.parquet")

    def seconds(work: Callable[[Iterator[Video]], object]) -> float:
        began = time.process_time()
        work(Listing(f"{folder}/list.parquet").videos())
        return 1e6 * (time.process_time() - began) / _LISTED

    return (
        seconds(lambda videos: deque(videos, maxlen=0)),
        seconds(lambda videos: write_manifest(videos, Location.of(f"{folder}/listed"))),
    )


def main() -> None:
    """Prints what listing takes, and a line per question."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--folder", help="for the manifest and the runs; a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        read, listed = _listed(folder)
        print(f"a list: {read:.0f} core-us a video to check it, {listed:.0f} to list it")
        began = time.monotonic()
        manifest = f"{folder}/manifest"
        write_rows(Location.of(manifest), arguments.rows)
        print(f"{arguments.rows:,} rows written in {time.monotonic() - began:.0f} s", flush=True)
        for number, case in enumerate(_CASES):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                task = pool.submit(_ask, case, manifest, f"{folder}/{number}")
                seconds, labeling, memory, said = task.result()
            by = f" by {case.by}" if case.by else ""
            print(
                f"{case.text}{by}, within {case.within:g}{', proxy' * case.proxy}: "
                f"{seconds:.0f} s, {labeling:.0f} s of them for made labels; "
                f"{memory:.0f} MiB; {said}",
                flush=True,
            )


if __name__ == "__main__":
    main()
