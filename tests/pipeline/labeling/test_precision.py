"""The precision of a run is chosen once, by the machines that label."""

import dataclasses

import pytest
import ray
from ray.cluster_utils import Cluster

from pipeline.execution import node_roles, processors
from pipeline.execution.processors import all_have_bfloat16
from pipeline.labeling import precision
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import plan_labeling
from pipeline.labeling.precision import with_precision
from tests.videos import write_video
from workers.machine import has_bfloat16

CORES = {"CPU": 8.0}


@pytest.fixture
def options(tmp_path, random_checkpoint):
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "a.mp4", frames=20)
    return LabelOptions(
        task="k400",
        source=str(tmp_path / "in"),
        output=str(tmp_path / "out"),
        checkpoint=str(random_checkpoint),
    )


@pytest.fixture
def chosen(options, monkeypatch):
    """The precision of a new run, by what the cluster has."""

    def choose(*, gpus=0, fast=True, **asked):
        monkeypatch.setattr(ray, "cluster_resources", lambda: CORES | {"GPU": gpus})
        monkeypatch.setattr(ray, "nodes", lambda: [])
        monkeypatch.setattr(precision, "all_have_bfloat16", lambda: fast)
        made = dataclasses.replace(options, **asked)
        return with_precision(plan_labeling(made), made).identity.precision

    return choose


def test_on_cpus_it_is_bfloat16_where_all_have_the_instructions(chosen):
    assert chosen() == "bfloat16"
    assert chosen(fast=False) == "float32"


def test_on_gpus_it_is_bfloat16_whatever_the_cores_can_do(chosen, monkeypatch):
    assert chosen(gpus=1, fast=False) == "bfloat16"
    assert chosen(max_gpus=4, fast=False) == "bfloat16"
    monkeypatch.setenv("STA_GPU_STAND_IN", "cpu")
    assert chosen(gpus=1, fast=False) == "float32"


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_what_the_user_asks_for_holds_on_any_machine(chosen, asked):
    assert chosen(precision=asked) == chosen(precision=asked, fast=False) == asked


@pytest.fixture
def machines(monkeypatch):
    """Whether all have the instructions, of a cluster whose machines have them or not."""

    def ask(nodes, *, own="here"):
        has = {name: has for name, _, has in nodes}
        listed = [
            {"NodeID": name, "Alive": True, "Resources": resources} for name, resources, _ in nodes
        ]
        listed.append({"NodeID": "gone", "Alive": False, "Resources": CORES})
        context = type("Context", (), {"get_node_id": lambda self: own})()
        monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
        monkeypatch.setattr(ray, "nodes", lambda: listed)
        monkeypatch.setattr(ray, "get", lambda refs, timeout: refs)
        monkeypatch.setattr(processors, "_asked", has.__getitem__)
        monkeypatch.setattr(processors, "has_bfloat16", lambda: has.get(own, True))
        return all_have_bfloat16()

    return ask


def test_of_mixed_machines_the_slowest_decides(machines):
    assert machines([("here", CORES, True), ("there", CORES, True)])
    assert not machines([("here", CORES, True), ("there", CORES, False)])
    assert not machines([("here", CORES, False), ("there", CORES, True)])


def test_machines_that_do_not_label_do_not_decide(machines, monkeypatch):
    head = ("here", {"CPU": 0.0}, False)
    assert machines([head, ("there", CORES, True)])
    decoding = ("decoding", CORES | {"decode": 1000}, False)
    assert not machines([head, decoding, ("there", CORES | {"label": 1000}, True)])
    monkeypatch.setenv(node_roles.VARIABLE, "1")
    assert machines([head, decoding, ("there", CORES | {"label": 1000}, True)])


def test_before_an_autoscaler_starts_machines_the_drivers_decides(machines):
    assert not machines([("here", {"CPU": 0.0}, False)])
    assert machines([("here", {"CPU": 0.0}, True)])


def test_a_machine_that_does_not_answer_counts_as_without(machines, monkeypatch):
    nodes = [("here", CORES, True), ("there", CORES, True)]
    assert machines(nodes)

    def late(refs, timeout):
        raise ray.exceptions.GetTimeoutError

    monkeypatch.setattr(ray, "get", late)
    assert not all_have_bfloat16()


@pytest.mark.slow
def test_other_machines_are_asked_by_a_task_on_each():
    ray.shutdown()  # a Ray that another file's tests left
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        assert all_have_bfloat16() == has_bfloat16()
    finally:
        ray.shutdown()
        cluster.shutdown()
