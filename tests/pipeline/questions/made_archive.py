"""An archive whose units and labels are made, so that questions need no decoding and no model.

`made_archive` replaces what `pipeline.questions.series` takes from a labeling job: planning,
listing and labeling. Rows of units/ are written as a run would write them, a sample at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.inputs.manifest import unit_id, write_manifest
from pipeline.inputs.video import Video
from pipeline.labeling.options import LabelOptions
from pipeline.prices import Prices
from pipeline.questions import series
from pipeline.run.run_directory import RunDirectory
from pipeline.run.sampled import folder_to_label
from pipeline.run.tables import build_tables
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import read_parquet
from tests.report_runs import at, attempt
from tests.run_records import run_record
from workers.schema import UNITS_SCHEMA

LABELS = ("rare", "common", "other")


@dataclass
class MadeArchive:
    """Videos with labels by the reference, and scores by the proxy.

    Attributes:
        names: ids of the videos.
        labels: (n,) numbers of their labels.
        scores: (n, labels) of the proxy.
        failed: ids of videos that cannot be labeled.
        labeled: (output, units) of every labeling, in order.
        before_label: called before each labeling.
        takes_time: whether labeling takes time, so that runs have attempts and tables of videos.
    """

    names: Sequence[str]
    labels: np.ndarray
    scores: np.ndarray
    failed: frozenset[str] = frozenset()
    labeled: list[tuple[str, int]] = field(default_factory=list)
    before_label: Callable[[], None] = lambda: None
    takes_time: bool = False
    _made: dict[str, dict[str, float]] = field(default_factory=dict)

    def plan(self, options: LabelOptions) -> Any:
        """What `plan_labeling` gives."""
        pruned = options.pruning.r != 0
        identity = run_record({"identity": {"pruning": {"r": 4 if pruned else 0}}}).identity
        clips = 1 if pruned else 5
        protocol = dataclasses.replace(identity.protocol, clips=clips, every_s=options.every_s)
        return SimpleNamespace(
            run=RunDirectory(Location.of(options.output)),
            identity=dataclasses.replace(identity, protocol=protocol),
            model=run_record(
                {"model": {"labels": LABELS, "flops_per_view": 1000 if pruned else 4000}}
            ).model,
            protocol=protocol,
        )

    def begin(self, plan: Any, options: LabelOptions, *, read: Sequence[str] = ()) -> None:
        """What `begin_run` does."""
        write_manifest((Video(name, f"/x/{name}") for name in self.names), plan.run.manifest)
        plan.run.create(run_record({"identity": {"pruning": plan.identity.pruning}}))

    def label(self, plan: Any, options: LabelOptions, *, sample: str | None) -> Any:
        """What `label` does."""
        self.before_label()
        run, is_reference = plan.run, not plan.identity.is_pruned
        folder = folder_to_label(run, sample)
        wanted = {
            each
            for file in folder.files(".parquet")
            for each in read_parquet(file)["unit_id"].to_pylist()
        }
        rows = []
        for number, name in enumerate(self.names):
            if unit_id(name) not in wanted:
                continue
            row: dict[str, Any] = {"unit_id": unit_id(name), "video_id": name, "duration_s": 10.0}
            if name in self.failed:
                rows.append(row | {"status": "failed", "error_type": "corrupt"})
                continue
            label = int(self.labels[number])
            scores = np.eye(len(LABELS))[label] if is_reference else self.scores[number]
            chosen = label if is_reference else int(scores.argmax())
            rows.append(row | {"status": "ok", "label_id": chosen, "scores": scores.tolist()})
        if self.takes_time:
            self._take_time(run, rows, options.prices, device_ms=40.0 if is_reference else 10.0)
        Path(run.units.uri).mkdir(exist_ok=True)
        table = pa.Table.from_pylist(rows, schema=UNITS_SCHEMA)
        pq.write_table(table, f"{run.units.uri}/all.parquet")
        self.labeled.append((run.root.name, len(rows)))
        run.save(dataclasses.replace(run.load(), sample=sample))
        if self.takes_time:
            run.save(dataclasses.replace(run.load(), totals=build_tables(run)))
        run.success.write_bytes(b"")
        return run.load()

    def _take_time(
        self, run: RunDirectory, rows: list[dict[str, Any]], prices: Prices | None, device_ms: float
    ) -> None:
        """Another attempt, whose new rows come ten a second after 20 seconds."""
        record = run.load()
        began = 1000.0 * len(record.attempts)
        at_s = self._made.setdefault(run.root.uri, {})
        new = [row["unit_id"] for row in rows if row["unit_id"] not in at_s]
        at_s.update({name: began + 20 + n / 10 for n, name in enumerate(new)})
        for row in rows:
            row |= {"uri": f"s3://x/{row['video_id']}", "decode_ms": 5.0, "bytes_read": 1000}
            row |= {"labeled_at": at(at_s[row["unit_id"]]), "device_ms": device_ms}
            if row["status"] == "ok":
                row |= {"label": LABELS[row["label_id"]], "score": 0.9}
        made = run_record({"attempts": [attempt(began, began + 30 + len(new) / 10)]}).attempts
        attempts = (*record.attempts, *made)
        run.save(dataclasses.replace(record, attempts=attempts, prices=prices or record.prices))


def made_archive(
    monkeypatch: pytest.MonkeyPatch,
    *,
    units: int = 4000,
    shares: Sequence[float] = (0.05, 0.3, 0.65),
    agreement: float = 0.95,
    seed: int = 0,
    names: Sequence[str] | None = None,
) -> MadeArchive:
    """An archive of so many videos, in place of what labels videos.

    `agreement`: probability that the proxy's score of a video favors the reference's label.
    """
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(LABELS), units, p=shares)
    guessed = np.where(rng.random(units) < agreement, labels, rng.integers(0, 3, units))
    scores = 0.05 + 0.85 * np.eye(len(LABELS))[guessed]
    made = MadeArchive(
        names=names or [f"{'day' if n % 4 else 'night'}/{n:05d}.mp4" for n in range(units)],
        labels=labels,
        scores=scores,
    )
    monkeypatch.setattr(series, "plan_labeling", made.plan)
    monkeypatch.setattr(series, "begin_run", made.begin)
    monkeypatch.setattr(series, "label", made.label)
    return made
