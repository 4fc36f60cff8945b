"""Ray Data sees committed checkpoints alone: those that are pending belong to other drivers."""

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
import ray
from ray.data.checkpoint.checkpoint_filter import IdColumnCheckpointManager
from ray.data.checkpoint.checkpoint_writer import CheckpointWriter

from pipeline.execution.checkpointing import checkpointing
from pipeline.execution.ray_session import start_ray
from pipeline.run.run_directory import RunDirectory
from pipeline.run.slices import Slice
from pipeline.storage.location import Location
from tests.run_records import run_record


@pytest.fixture(scope="module")
def local_ray():
    start_ray(cores=2)
    yield
    ray.shutdown()


@pytest.fixture(params=[False, True], ids=["plain", "with a run_id"])
def run(tmp_path, request):
    directory = RunDirectory(Location.of(str(tmp_path)))
    directory.create(run_record()) if request.param else directory.save(run_record())
    (tmp_path / "_checkpoint").mkdir()
    (tmp_path / "units").mkdir()
    return directory


def write(run, name, ids):
    pq.write_table(pa.table({"unit_id": ids}), f"{run.checkpoint.uri}/{name}.parquet")


def listed(config):
    folder = pafs.FileSelector(config.checkpoint_path)
    return sorted(each.base_name for each in config.filesystem.get_file_info(folder))


def test_pending_checkpoints_are_not_listed_and_can_be_confirmed(run):
    config = checkpointing(run, None)
    write(run, "done", ["0a"])
    writer = CheckpointWriter.create(config)
    pending = writer.write_pending_checkpoint(pa.array(["0b"]), "other")
    assert run.checkpoint.child("other.pending.parquet").exists()
    assert listed(config) == ["done.parquet"]
    writer.commit_checkpoint(pending)
    assert listed(config) == ["done.parquet", "other.parquet"]
    assert not run.checkpoint.child("other.pending.parquet").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("within", "expected"),
    [
        (None, ["10", "50", "90"]),
        (Slice(0, "40", "80"), ["50"]),
        (Slice(1, "80", None), ["90"]),
        (Slice(2, "a0", None), None),
    ],
)
def test_a_driver_loads_the_ids_of_its_slice_and_deletes_nothing_of_others(
    local_ray, run, within, expected
):
    config = checkpointing(run, within)
    write(run, "done", ["10", "50", "90"])
    write(run, "other.pending", ["60"])
    file = run.units.child("other-0.parquet")
    file.write_bytes(b"being written")
    context = ray.data.DataContext.get_current()
    manager = (config.checkpoint_manager_cls or IdColumnCheckpointManager)(
        checkpoint_config=config, data_context=context
    )
    found, _ = manager.load_checkpoint(run.units.filesystem()[1], config.filesystem)
    assert (None if found is None else ray.get(found).tolist()) == expected
    assert file.exists()
    assert run.checkpoint.child("other.pending.parquet").exists()
