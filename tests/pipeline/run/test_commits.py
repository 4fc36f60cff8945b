"""Commits: whatever a kill leaves, every confirmed unit has one row and the rest is done again."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.inputs.manifest import unit_id
from pipeline.run import commits
from pipeline.run.commits import committed, reconcile, withdraw_failed
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.pipeline.run.test_tables import failed, ok
from workers.schema import UNITS_SCHEMA


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(Location.of(str(tmp_path)))
    (tmp_path / "units").mkdir()
    (tmp_path / "_checkpoint").mkdir()
    return directory


def write_rows(run, name, rows):
    table = pa.Table.from_pylist(rows, schema=UNITS_SCHEMA)
    pq.write_table(table, f"{run.units.uri}/{name}-0.parquet")


def write_checkpoint(run, name, videos, *, pending=False):
    table = pa.table({"unit_id": [unit_id(video) for video in videos]})
    suffix = ".pending.parquet" if pending else ".parquet"
    pq.write_table(table, f"{run.checkpoint.uri}/{name}{suffix}")


def commit(run, name, rows):
    write_rows(run, name, rows)
    write_checkpoint(run, name, [row["video_id"] for row in rows])


def state(run):
    """(videos in units/, videos that the checkpoint confirms), sorted, repeats included."""
    names = {unit_id(video): video for video in "abcdef"}
    held = []
    for folder in (run.units, run.checkpoint):
        files = sorted(Path(folder.uri).glob("*.parquet"))
        ids = [i for file in files for i in pq.read_table(file)["unit_id"].to_pylist()]
        held.append("".join(sorted(names[i] for i in ids)))
    return tuple(held)


def files(run):
    return {p.relative_to(run.root.uri): p.read_bytes() for p in Path(run.root.uri).rglob("*.*")}


def test_a_run_in_order_is_left_untouched(run):
    commit(run, "x_000000", [ok("a"), failed("b")])
    commit(run, "x_000001", [ok("c")])
    before = files(run)
    assert reconcile(run).line() is None
    assert files(run) == before


def test_a_folder_that_was_never_written_to_is_in_order(tmp_path):
    assert reconcile(RunDirectory(Location.of(str(tmp_path / "none")))).line() is None


def test_rows_whose_confirmation_is_pending_are_removed_with_it(run):
    commit(run, "x_000000", [ok("a")])
    write_checkpoint(run, "x_000001", "b", pending=True)
    write_rows(run, "x_000001", [ok("b")])
    write_checkpoint(run, "x_000002", "c", pending=True)
    reconcile(run)
    assert state(run) == ("a", "a")


def test_rows_that_are_confirmed_survive_a_pending_name_that_was_left_beside_it(run):
    """A kill between the copy and the deletion of a rename in object storage."""
    commit(run, "x_000000", [ok("a")])
    write_checkpoint(run, "x_000000", "a", pending=True)
    reconcile(run)
    assert state(run) == ("a", "a")
    assert not list(Path(run.checkpoint.uri).glob("*pending*"))


def test_rows_that_nothing_confirms_are_removed(run):
    commit(run, "x_000000", [ok("a")])
    write_rows(run, "x_000001", [ok("b")])
    assert reconcile(run).unconfirmed == 1
    assert state(run) == ("a", "a")


def test_confirmations_without_rows_are_removed_so_that_the_units_are_done_again(run):
    commit(run, "x_000000", [ok("a")])
    commit(run, "x_000001", [ok("b"), ok("c")])
    (Path(run.units.uri) / "x_000001-0.parquet").unlink()
    assert reconcile(run).lost == 1
    assert state(run) == ("a", "a")


@pytest.mark.parametrize("content", [b"", b"PAR1 cut off"])
def test_a_file_that_cannot_be_read_is_done_again(run, content):
    commit(run, "x_000000", [ok("a")])
    commit(run, "x_000001", [ok("b")])
    (Path(run.units.uri) / "x_000001-0.parquet").write_bytes(content)
    assert reconcile(run).lost == 1
    assert state(run) == ("a", "a")


def test_a_file_that_holds_other_units_than_confirmed_is_done_again(run):
    commit(run, "x_000000", [ok("a")])
    write_rows(run, "x_000001", [ok("b")])
    write_checkpoint(run, "x_000001", "bc")
    assert reconcile(run).lost == 1
    assert state(run) == ("a", "a")


def test_of_units_that_two_commits_hold_one_row_stays(run):
    commit(run, "x_000000", [ok("a"), ok("b")])
    commit(run, "y_000000", [ok("b"), ok("c")])
    commit(run, "z_000000", [ok("a")])
    repairs = reconcile(run)
    assert repairs.repeated == 2
    assert state(run) == ("abc", "abc")
    assert "2 repeated rows" in repairs.line()
    assert reconcile(run).line() is None


def test_failures_that_could_change_are_withdrawn_and_all_else_stays(run):
    commit(run, "x_000000", [ok("a"), failed("b", "timeout"), failed("c", "corrupt")])
    commit(run, "x_000001", [failed("d", "timeout")])
    commit(run, "x_000002", [ok("e")])
    assert withdraw_failed(run, ["timeout", "crashed"]) == 2
    assert state(run) == ("ace", "ace")
    assert reconcile(run).line() is None
    kept = [row for f in Path(run.units.uri).glob("*") for row in pq.read_table(f).to_pylist()]
    whole = pa.Table.from_pylist([ok("a")], schema=UNITS_SCHEMA).to_pylist()[0]
    assert whole in kept


def test_units_that_wait_for_the_end_of_the_run_are_not_counted(run):
    commit(run, "x_000000", [ok("a"), failed("b", "deferred"), failed("c", "corrupt")])
    counts = committed(run)
    assert (counts.units, counts.failed, counts.deferred) == (2, 1, 1)
    assert withdraw_failed(run, ["deferred"]) == 1
    assert committed(run) == replace(counts, deferred=0)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", range(6))
def test_a_kill_at_any_step_of_a_withdrawal_costs_no_unit(run, monkeypatch, step):
    commit(run, "x_000000", [ok("a"), failed("b", "timeout"), ok("c")])
    steps = iter(range(100))

    def dying(method):
        def call(*arguments):
            if next(steps) == step:
                raise Killed
            return method(*arguments)

        return call

    for name in ("delete", "move"):
        monkeypatch.setattr(Location, name, dying(getattr(Location, name)))
    monkeypatch.setattr(commits, "_write", dying(commits._write))
    with contextlib.suppress(Killed):
        withdraw_failed(run, ["timeout"])
    monkeypatch.undo()
    reconcile(run)
    units, confirmed = state(run)
    assert units == confirmed
    assert units in ("abc", "ac")  # before or after, each unit once, and no good row lost
    withdraw_failed(run, ["timeout"])
    assert state(run) == ("ac", "ac")


def test_what_is_committed_is_counted_with_its_failures_by_reason(run):
    assert committed(run).units == 0
    commit(run, "x_000000", [ok("a"), failed("b", "timeout"), failed("c", "corrupt")])
    commit(run, "x_000001", [failed("d", "timeout"), ok("e")])
    counts = committed(run)
    assert (counts.units, counts.failed, counts.seconds) == (5, 3, 20.0)
    assert counts.reasons() == "2 timeout, 1 corrupt"
