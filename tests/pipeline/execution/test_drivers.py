"""Several drivers of one run: every unit once, whatever one of them meets."""

import os
import threading
import time

import pyarrow.parquet as pq
import pytest
import ray

from pipeline.errors import RunError
from pipeline.execution.drivers import limits, run_drivers
from pipeline.execution.file_history import SharedHistory
from pipeline.execution.pools import OVERHEAD_CPUS, plan_pools
from pipeline.execution.progress import ProgressLine, reporting
from pipeline.execution.ray_session import ray_messages_aside, start_ray
from pipeline.execution.run_failure import root_cause
from pipeline.run.commits import committed, reconcile
from pipeline.run.counts import Counts
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.processes import descendants, eventually, kill
from tests.scale.graph_rows import Config, config_of, make_run, parser
from workers.inference.labeler import LabelerConfig

UNITS = 128


@pytest.fixture(scope="module")
def local_ray():
    start_ray(cores=8)
    yield
    ray.shutdown()


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(Location.of(str(tmp_path)))
    make_run(directory, UNITS)
    return directory


def config(drivers, *, decode_s=0.0):
    flags = ["--drivers", drivers, "--decoders", 2, "--labelers", 2, "--decode-s", decode_s]
    flags += ["--of", UNITS]
    return config_of(parser().parse_args([str(each) for each in flags]))


def labeled(run, config, **settings):
    line = ProgressLine(UNITS, Counts(), out=open(os.devnull, "w"))  # noqa: SIM115
    settings["files"] = SharedHistory.start(drivers=config.pools.drivers)
    config = Config(**(vars(config) | settings))
    with ray_messages_aside(), reporting(line, "drivers", drivers=2) as report:
        run_drivers(run, config, report)
        return report.stages()


def ids(place):
    tables = [pq.read_table(file.uri) for file in place.files(".parquet")]
    return sorted(each for table in tables for each in table["unit_id"].to_pylist())


def graphs(run):
    """Graphs that wrote to units/: Ray Data names the files of each after an id of its own."""
    return {file.name.partition("_")[0] for file in run.units.files(".parquet")}


def running(name):
    return [pid for pid, line in descendants(os.getpid()).items() if line.startswith(name)]


def test_a_driver_is_limited_to_its_pools_and_its_own_steps():
    pools = plan_pools(cpus=4 * OVERHEAD_CPUS + 7, gpus=6, drivers=4)
    parts = [limits(each) for each in pools.divided(4)]
    assert sum(each.gpu for each in parts) == 6
    assert sum(each.cpu for each in parts) <= 4 * OVERHEAD_CPUS + 7
    assert min(each.cpu for each in parts) > OVERHEAD_CPUS


@pytest.mark.slow
def test_two_drivers_label_every_unit_once(local_ray, run):
    stages = labeled(run, config(2))
    assert ids(run.units) == ids(run.manifest)
    assert len(graphs(run)) == 2
    assert (stages.label.actors, stages.label.units, stages.decode.units) == (2, UNITS, UNITS)
    assert reconcile(run).line() is None
    assert eventually(lambda: running("ray::GraphDriver") == [])


@pytest.mark.drill
def test_few_units_are_left_to_one_driver(local_ray, run):
    labeled(run, config(1))
    one = run.units.files(".parquet")[0]
    run.checkpoint.child(one.name.replace("-0.parquet", ".parquet")).delete()
    reconcile(run)
    before = graphs(run)
    labeled(run, config(2))
    assert ids(run.units) == ids(run.manifest)
    assert len(graphs(run) - before) == 1


@pytest.mark.drill
def test_a_killed_driver_ends_the_others_and_the_rest_is_labeled_by_the_next(local_ray, run):
    killed = []

    def kill_one():
        eventually(lambda: len(run.units.files(".parquet")) >= 2)
        killed.extend(running("ray::GraphDriver"))
        kill(killed[0])

    thread = threading.Thread(target=kill_one)
    thread.start()
    with pytest.raises(RunError, match=r"^driver \d of 2 ended: "):
        labeled(run, config(2, decode_s=0.4))
    thread.join()
    assert len(killed) == 2
    left = ("ray::GraphDriver", "ray::TimedSleeping", "ray::MapWorker")
    assert eventually(lambda: not any(running(name) for name in left))
    time.sleep(1)  # what was being written as its owner ended
    reconcile(run)
    done = committed(run).units
    assert 0 < done < UNITS
    labeled(run, config(2))
    assert reconcile(run).repeated == 0
    assert ids(run.units) == ids(run.manifest)
    assert ids(run.checkpoint) == ids(run.manifest)


@pytest.mark.drill
def test_an_error_of_a_graph_is_that_of_the_run(local_ray, run):
    with pytest.raises(ray.exceptions.RayError) as error:
        labeled(run, config(2), labeler=LabelerConfig("none", batch_size=32))
    assert root_cause(error.value) == "could not convert string to float: 'none'"
    assert eventually(lambda: running("ray::GraphDriver") == [])
