"""What labelers are asked to compute on, and what run.json says that they did."""

import json
from dataclasses import asdict

import pytest

from pipeline.errors import RunError, UsageError
from pipeline.execution import attempts
from pipeline.execution.attempts import begin_attempt, note_machines
from pipeline.execution.pools import plan_pools
from pipeline.execution.stage_stats import Stage, Stages, StageSums
from pipeline.labeling.attempt import LabelRun
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import LabelPlan
from pipeline.planner.calibrate import this_machine
from pipeline.reports import settings
from pipeline.run.devices import STAND_IN, device_words, devices_of, labeler_device, ran_on_gpu
from pipeline.run.run_directory import OpenRun, RunDirectory, now
from pipeline.run.run_record import ClusterRecord
from pipeline.storage.location import Location
from tests.run_records import run_record
from workers import devices
from workers.actor_stats import DECODE, LABEL, WorkReport

CLUSTER = ClusterRecord("a CPU", cpus=8.0, gpus=1.0, nodes=1)
H100, CPU = "NVIDIA H100 80GB HBM3", "cpu: 2 threads of a CPU"


@pytest.fixture
def begun(monkeypatch):
    """The record of a run with an attempt whose labelers have not said anything yet."""
    monkeypatch.setattr(attempts, "describe_cluster", lambda: CLUSTER)

    def attempt(record=None):
        return begin_attempt(record or run_record(), plan_pools(cpus=8, gpus=1), now())

    return attempt


def stages(device):
    return Stages(label=Stage(devices=(device,)))


def worked(actor, device):
    return WorkReport(LABEL, actor, 0.0, 1.0, 1.0, 1.0, 3, views=3, slots=4, device=device)


def test_labelers_with_a_gpu_must_compute_on_it_and_the_others_must_not(monkeypatch):
    monkeypatch.delenv(STAND_IN, raising=False)
    assert labeler_device(on_gpu=True) == "cuda"
    assert labeler_device(on_gpu=False) == "cpu"


@pytest.mark.parametrize("value", ["", "1", "cuda", "CPU"])
def test_the_stand_in_of_tests_is_set_by_its_one_value_alone(monkeypatch, value):
    monkeypatch.setenv(STAND_IN, "cpu")
    assert labeler_device(on_gpu=True) == "cpu"
    monkeypatch.setenv(STAND_IN, value)
    with pytest.raises(UsageError, match=f"{STAND_IN} is '{value}'; it must be unset, or cpu"):
        labeler_device(on_gpu=True)


def test_the_stages_have_the_names_of_all_devices_that_labeled():
    sums = StageSums()
    for actor, device in (("a", H100), ("b", CPU), ("c", H100)):
        sums.add(worked(actor, device))
    assert sums.stages().label.devices == (H100, CPU)
    assert Stages.from_json(json.loads(json.dumps(sums.stages().as_json()))) == sums.stages()


def test_nothing_is_said_before_a_labeler_said_it(begun):
    record = begun()
    assert devices_of(record) == ()
    assert device_words(record) is None
    assert record.device.labelers == ()


def test_every_attempt_has_devices_of_its_own_and_the_run_all_of_them(begun):
    record = begun()
    record = note_machines(record, stages(H100))
    assert note_machines(record, stages(H100)) is record
    record = note_machines(begun(record), stages(CPU))
    assert [attempt.devices for attempt in record.attempts] == [(H100,), (CPU,)]
    assert record.device.labelers == (H100, CPU)
    assert device_words(record) == f"{H100} and {CPU}"
    assert [ran_on_gpu(attempt) for attempt in record.attempts] == [True, False]


def test_a_killed_attempt_has_told_its_device(begun, tmp_path):
    run = RunDirectory(Location.of(str(tmp_path / "out")))
    record = begun(run.create(run_record()))
    options = LabelOptions("k400", "in", str(tmp_path / "out"), "demo")
    plan = LabelPlan(run, record.identity, record.model, record.identity.protocol, None)
    attempt, opened = LabelRun(plan, options, None), OpenRun(run, record)
    attempt.stop.error = RunError("taken over")
    attempt._note(opened, stages(H100))
    assert run.load().attempts == ()
    attempt.stop.error = None
    attempt._note(opened, stages(H100))
    assert run.load().attempts[0].devices == (H100,)


def test_what_a_kernel_lacks_of_the_sandbox_is_said_once_and_recorded(begun, tmp_path, capsys):
    run = RunDirectory(Location.of(str(tmp_path / "out")))
    record = begun(run.create(run_record()))
    options = LabelOptions("k400", "in", str(tmp_path / "out"), "demo")
    plan = LabelPlan(run, record.identity, record.model, record.identity.protocol, None)
    sums = StageSums()
    report = WorkReport(DECODE, "a", 0.0, 1.0, 1.0, 1.0, 3, missing=("Landlock", "seccomp"))
    sums.add(report)
    attempt, opened = LabelRun(plan, options, None), OpenRun(run, record)
    for _ in range(2):
        attempt._note(opened, sums.stages())
    assert run.load().attempts[0].missing_sandbox == ("Landlock", "seccomp")
    assert capsys.readouterr().err == (
        "The decoders' sandbox is incomplete: the kernel of a machine lacks Landlock and seccomp. "
        "--require-sandbox refuses such machines.\n"
    )


def given(gpus, devices):
    return run_record({"attempts": [{"labeler_gpus": gpus, "devices": devices}]}).attempts[0]


def test_labelers_that_hold_gpus_and_computed_on_cpus_did_not_run_on_gpus():
    assert ran_on_gpu(given(1.0, [H100]))
    assert not ran_on_gpu(given(1.0, [CPU]))
    assert ran_on_gpu(given(1.0, []))
    assert not ran_on_gpu(given(0.0, []))


def test_the_report_names_the_devices_and_what_the_cluster_had():
    run = {"device": asdict(CLUSTER), "labeler_devices": [H100]}
    assert settings.device(run) == f"{H100}; 1 GPU and 8 cores on 1 machine"
    run = {"device": asdict(CLUSTER) | {"gpus": 0.0, "nodes": 3}, "labeler_devices": [CPU]}
    assert settings.device(run) == f"{CPU}; 8 cores on 3 machines"


def test_a_plan_for_a_machine_whose_gpu_torch_cannot_use_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "_NVIDIA", tmp_path)
    with pytest.raises(RunError, match="this machine has a GPU that torch cannot use: torch "):
        this_machine()
