"""Verification: it holds for a whole run, and finds each way in which one is not."""

import dataclasses
import json
import re
import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.manifest import write_manifest
from pipeline.inputs.video import Video
from pipeline.run.run_directory import RunDirectory
from pipeline.run.tables import build_tables
from pipeline.storage.location import Location
from pipeline.verify.verify import report, verify
from tests.pipeline.run.test_tables import failed, ok
from tests.report_runs import shadowed
from tests.run_records import run_record
from workers.schema import UNITS_SCHEMA

NAMES = ["a", "b", "c", "d"]


def whole_run(tmp_path, rows, share=0.0):
    """A finished run of these four rows, in two files."""
    directory = RunDirectory(Location.of(str(tmp_path / "run")))
    write_manifest((Video(name, f"/x/{name}") for name in NAMES), directory.manifest)
    for folder in ("units", "_checkpoint"):
        (tmp_path / "run" / folder).mkdir()
    for number, part in enumerate((rows[:2], rows[2:])):
        table = pa.Table.from_pylist(part, schema=UNITS_SCHEMA)
        pq.write_table(table, f"{directory.units.uri}/{number}.parquet")
        pq.write_table(table.select(["unit_id"]), f"{directory.checkpoint.uri}/{number}.parquet")
    content = {
        "identity": {"protocol": {"clips": 1, "crops": 2}, "shadow_share": share},
        "model": {
            "kept_grids": [[1, 1, 2]],
            "flops_per_view": 10,
            "flops_per_view_unpruned": 20,
            "flops_vary_by_clip": False,
        },
    }
    directory.save(run_record(content))
    directory.save(run_record(content | {"totals": dataclasses.asdict(build_tables(directory))}))
    return directory


@pytest.fixture
def run(tmp_path):
    return whole_run(tmp_path, [ok("a"), failed("b"), ok("c"), ok("d")])


@pytest.fixture
def shadow_run(tmp_path):
    """All of its labeled units are in the shadow sample; the last is labeled otherwise there."""
    good = [shadowed(ok(name), label_id) for name, label_id in (("a", 0), ("c", 0), ("d", 1))]
    return whole_run(tmp_path, [good[0], failed("b"), *good[1:]], share=1.0)


def problems(run):
    return [check.what for check in verify(run) if check.problem]


def rewrite(folder, change, name):
    path = f"{folder.uri}/{name}.parquet"
    table = pq.read_table(path, partitioning=None)
    pq.write_table(change(table).cast(table.schema), path)


def test_a_whole_run_is_whole(run):
    assert problems(run) == []
    assert report(verify(run)).endswith("Verified: all checks passed.")


def drop_last(table):
    return table.slice(0, table.num_rows - 1)


def double_last(table):
    return pa.concat_tables([table, table.slice(table.num_rows - 1)])


def set_column(name, value):
    def change(table):
        place = table.schema.get_field_index(name)
        column = pa.array([value] * table.num_rows, type=table.schema.field(name).type)
        return table.set_column(place, table.schema.field(place), column)

    return change


@pytest.mark.parametrize(
    ("folder", "change", "name", "found"),
    [
        ("units", drop_last, "1", "units: declared schema, one row per unit"),
        ("units", double_last, "1", "units: declared schema, one row per unit"),
        ("units", set_column("error_type", "bad luck"), "0", "units: ok with a label"),
        ("units", set_column("status", "unsure"), "0", "units: ok with a label"),
        ("_checkpoint", drop_last, "1", "checkpoint: lists the units"),
        ("videos", drop_last, "part-00000", "videos: declared schema"),
        ("videos", double_last, "part-00000", "videos: declared schema"),
        ("videos", set_column("status", "ok"), "part-00000", "videos: declared schema"),
        ("videos", set_column("flops", 7), "part-00000", "FLOPs: units/, clips/ and"),
        ("clips", drop_last, "part-00000", "clips: declared schema"),
        ("clips", double_last, "part-00000", "clips: declared schema"),
        ("clips", set_column("flops", 11), "part-00000", "FLOPs: units/, clips/ and"),
        ("clips", set_column("tokens_kept", [1]), "part-00000", "clips: kept_token_maps show"),
        ("manifest", double_last, "part-00000", "manifest: declared schema"),
    ],
)
def test_every_kind_of_damage_is_found(run, folder, change, name, found):
    rewrite(run.root.child(folder), change, name)
    assert any(what.startswith(found) for what in problems(run))


def test_a_run_with_a_shadow_sample_is_whole(shadow_run):
    assert problems(shadow_run) == []


@pytest.mark.parametrize(
    ("folder", "change", "name"),
    [
        ("units", set_column("unpruned_label_id", None), "0"),
        ("units", set_column("unpruned_flops", 41), "0"),
        ("clips", set_column("unpruned_label_id", None), "part-00000"),
        ("videos", set_column("unpruned_flops", None), "part-00000"),
    ],
)
def test_a_wrong_shadow_sample_is_found(shadow_run, folder, change, name):
    rewrite(shadow_run.root.child(folder), change, name)
    assert any(what.startswith("shadow sample: ") for what in problems(shadow_run))


def test_a_share_that_the_units_do_not_have_is_found(shadow_run):
    content = shadow_run.load().to_json()
    content["identity"]["shadow_share"] = 0.0
    shadow_run.save(run_record(content))
    assert [what[:14] for what in problems(shadow_run)] == ["shadow sample:"]


@pytest.mark.parametrize("figure", ["unpruned_units", "unpruned_agreeing", "unpruned_flops"])
def test_totals_of_another_shadow_sample_are_found(shadow_run, figure):
    content = shadow_run.load().to_json()
    content["totals"][figure] += 1
    shadow_run.save(run_record(content))
    assert problems(shadow_run) == ["run.json: totals agree with the tables"]


@pytest.mark.parametrize("folder", ["units", "clips", "videos", "manifest"])
def test_an_unreadable_file_is_a_failed_check_and_not_an_error(run, folder):
    with open(run.root.child(folder).child("zzz.parquet").uri, "wb") as file:
        file.write(b"PAR1 cut off")
    assert any(what.startswith(folder) for what in problems(run))


def test_a_table_with_other_columns_is_found(run):
    path = f"{run.videos.uri}/part-00000.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["uri"]), path)
    failed_checks = [check for check in verify(run) if check.problem]
    assert any(
        "does not have the columns of its schema" in check.problem for check in failed_checks
    )


def test_totals_that_do_not_add_up_are_found(run):
    content = run.load().to_json()
    content["totals"]["flops"] += 1
    run.save(run_record(content))
    assert problems(run) == ["run.json: totals agree with the tables"]


def test_missing_tables_are_found(run):
    shutil.rmtree(run.clips.uri)
    assert any(what.startswith("clips") for what in problems(run))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match=re.escape("it has no run.json")):
        verify(RunDirectory(Location.of(str(tmp_path))))


def test_the_totals_of_the_fixture_are_those_of_its_rows(run):
    clips = pq.read_table(run.clips.uri)
    assert (
        pc.sum(clips["flops"]).as_py() == json.loads(run.run_json.read_bytes())["totals"]["flops"]
    )
