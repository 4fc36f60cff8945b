"""Repairs the commits of a run: files of units/ and the checkpoints that confirm them.

Ray Data commits in two phases. It writes the ids of a commit to `_checkpoint/NAME.pending.parquet`,
the rows to `units/NAME-0.parquet`, and then renames the former to `_checkpoint/NAME.parquet`. In
object storage a rename is a copy and a deletion, and after the driver is killed a task may continue
to write for a moment. So a file may have no checkpoint, a checkpoint no file, a checkpoint both
names (Ray's recovery then deletes confirmed rows), and a unit rows in two commits. `reconcile`
repairs each case: afterwards every confirmed unit has exactly one row, and all other units are
labeled again.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.run.counts import COUNTED, Counts
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import parquet_file, read_parquet

PENDING = ".pending.parquet"
_CONFIRMED = ".parquet"
_DATA = re.compile(r"(?P<name>.+)-\d+\.parquet")
_ID = "unit_id"

# Files that are read at a time: each takes a round trip to object storage.
_AT_ONCE = 16

Ids = npt.NDArray[np.bytes_]


@dataclass
class Repairs:
    """What `reconcile` removed.

    Attributes:
        unconfirmed: files of units/ without a checkpoint; their units are labeled again.
        lost: checkpoints whose file is missing, unreadable or has other units; their units are
            labeled again.
        repeated: repeated rows of units; one row of each unit remains.
    """

    unconfirmed: int = 0
    lost: int = 0
    repeated: int = 0

    def line(self) -> str | None:
        """The repairs in one line; None if there were none."""
        said = {
            "files without a confirmation": self.unconfirmed,
            "confirmations without their file": self.lost,
            "repeated rows": self.repeated,
        }
        found = [f"{count:,} {what}" for what, count in said.items() if count]
        return f"Removed {', '.join(found)} that an interrupted attempt left." if found else None


@dataclass(frozen=True)
class _Commit:
    """One commit: its files in units/ and the checkpoint that confirms them."""

    files: tuple[Location, ...]
    checkpoint: Location

    def withdraw(self) -> None:
        """Deletes the commit; the confirmation first, so that a kill in between is harmless."""
        self.checkpoint.delete()
        for file in self.files:
            file.delete()


def reconcile(run: RunDirectory) -> Repairs:
    """Makes units/ and _checkpoint/ agree; changes nothing if they do.

    Nothing else may write to the run meanwhile.
    """
    repairs = Repairs()
    run.units.sweep()
    run.checkpoint.sweep()
    files = _files_by_name(run)
    pending, confirmed = _checkpoints(run)
    for name, checkpoint in pending.items():
        if name not in confirmed:
            _delete_all(files.pop(name, ()))
        checkpoint.delete()
    for name in files.keys() - confirmed.keys():
        repairs.unconfirmed += len(files[name])
        _delete_all(files.pop(name))
    commits = [
        _Commit(files.get(name, ()), checkpoint) for name, checkpoint in sorted(confirmed.items())
    ]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        ids = list(pool.map(_confirmed_ids, commits))
    good = []
    for commit, its_ids in zip(commits, ids, strict=True):
        if its_ids is None:
            repairs.lost += 1
            commit.withdraw()
        else:
            good.append((commit, its_ids))
    repairs.repeated = _drop_repeated(run, good)
    return repairs


def committed(run: RunDirectory) -> Counts:
    """Counts of the rows of units/, after `reconcile`."""

    def count(file: Location) -> Counts:
        with parquet_file(file) as rows:
            held = [name for name in COUNTED if name in rows.schema_arrow.names]
            return Counts.of(rows.read(columns=held))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return sum(pool.map(count, run.units.files(".parquet")), Counts())


def confirmed_files(run: RunDirectory) -> list[Location]:
    """Files of units/ that are confirmed, also of a run that another command works on."""
    return [file for files in confirmed_commits(run).values() for file in files]


def withdraw_failed(run: RunDirectory, error_types: Iterable[str]) -> int:
    """Deletes the rows of units that failed for one of these reasons, so that they are labeled
    again, and returns their number.

    After a kill some of these rows are deleted and others are not; no unit has two rows.
    """
    wanted = pa.array(sorted(error_types), pa.string())
    withdrawn = 0
    for name, files in sorted(_files_by_name(run).items()):
        table = _table(files, ["error_type"])
        redo = pc.is_in(table["error_type"], value_set=wanted)
        count = pc.sum(redo, min_count=0).as_py()
        if count:
            _keep(run, _Commit(files, _confirmed(run, name)), pc.invert(redo))
            withdrawn += count
    return withdrawn


def _files_by_name(run: RunDirectory) -> dict[str, tuple[Location, ...]]:
    found: dict[str, list[Location]] = {}
    for file in run.units.files(".parquet"):
        match = _DATA.fullmatch(file.name)
        found.setdefault(match["name"] if match else file.name, []).append(file)
    return {name: tuple(files) for name, files in found.items()}


def _checkpoints(run: RunDirectory) -> tuple[dict[str, Location], dict[str, Location]]:
    """(pending, confirmed) checkpoints by the name of their commit."""
    pending, confirmed = {}, {}
    for file in run.checkpoint.files(_CONFIRMED):
        if file.name.endswith(PENDING):
            pending[file.name.removesuffix(PENDING)] = file
        else:
            confirmed[file.name.removesuffix(_CONFIRMED)] = file
    return pending, confirmed


def _confirmed(run: RunDirectory, name: str) -> Location:
    return run.checkpoint.child(f"{name}{_CONFIRMED}")


def _delete_all(files: Iterable[Location]) -> None:
    for file in files:
        file.delete()


def _confirmed_ids(commit: _Commit) -> Ids | None:
    """The ids of a commit's rows; None if its checkpoint confirms other ids."""
    try:
        ids = _ids(commit.files)
        confirmed = _ids((commit.checkpoint,))
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
    return ids if np.array_equal(np.sort(ids), np.sort(confirmed)) else None


def _ids(files: tuple[Location, ...]) -> Ids:
    if not files:
        raise FileNotFoundError
    ids = _table(files, [_ID])[_ID]
    return np.asarray(ids.to_numpy(zero_copy_only=False)).astype(np.bytes_)


def _table(files: Iterable[Location], columns: list[str] | None = None) -> pa.Table:
    parts = []
    for file in files:
        parts.append(read_parquet(file, columns))
    return pa.concat_tables(parts)


def _drop_repeated(run: RunDirectory, commits: list[tuple[_Commit, Ids]]) -> int:
    """Deletes rows of units that an earlier commit also has; returns their number."""
    if not commits:
        return 0
    every = np.concatenate([ids for _, ids in commits])
    _, first = np.unique(every, return_index=True)
    if len(first) == len(every):
        return 0
    keep = np.zeros(len(every), dtype=np.bool_)
    keep[first] = True
    at = 0
    for commit, ids in commits:
        mine = keep[at : at + len(ids)]
        at += len(ids)
        if not mine.all():
            _keep(run, commit, pa.array(mine))
    return len(every) - len(first)


def _keep(run: RunDirectory, commit: _Commit, rows: pa.Array | pa.ChunkedArray) -> None:
    """Replaces a commit by a new one with some of its rows, in Ray's two phases.

    If a kill leaves both commits in place, `reconcile` deletes the repeated rows.
    """
    table = _table(commit.files).filter(rows)
    if table.num_rows:
        commit_rows(run, f"{uuid.uuid4().hex}_000000", table)
    commit.withdraw()


def commit_rows(run: RunDirectory, name: str, table: pa.Table) -> None:
    """Writes rows of units/ as a commit, in Ray's two phases."""
    pending = run.checkpoint.child(f"{name}{PENDING}")
    _write(table.select([_ID]).replace_schema_metadata(None), pending)
    _write(table, run.units.child(f"{name}-0.parquet"))
    pending.move(_confirmed(run, name))


def confirmed_commits(run: RunDirectory) -> dict[str, tuple[Location, ...]]:
    """Names of the confirmed commits of a run, in order, with their files."""
    (_, confirmed), files = _checkpoints(run), _files_by_name(run)
    return {name: files[name] for name in sorted(confirmed) if name in files}


def _write(table: pa.Table, file: Location) -> None:
    filesystem, path = file.filesystem()
    pq.write_table(table, path, filesystem=filesystem)
