"""Which Ray a job joins, and which places a submitted job may be given."""

import socket

import pytest

from pipeline.errors import UsageError
from pipeline.execution import ray_session
from pipeline.execution.ray_session import check_outlives_job, check_ray_address, is_own_ray
from pipeline.lab.early_exit import command as calibration
from pipeline.lab.evaluation import command as evaluation
from pipeline.labeling import command as label_command

_SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"


@pytest.fixture
def refused(monkeypatch):
    """What is said of a RAY_ADDRESS, with these Rays on the machine."""

    def said(address, found=()):
        monkeypatch.setenv("RAY_ADDRESS", address)
        monkeypatch.setattr(ray_session, "find_gcs_addresses", lambda: set(found))
        with pytest.raises(UsageError) as error:
            check_ray_address()
        text = str(error.value)
        assert "unset RAY_ADDRESS" in text
        assert "\n" not in text
        return text

    return said


@pytest.mark.parametrize("address", ["", "local"])
def test_without_an_address_a_job_starts_a_ray_of_its_own(address, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert is_own_ray()
    check_ray_address()
    monkeypatch.delenv("RAY_ADDRESS")
    assert is_own_ray()


def test_several_rays_on_a_machine_are_named_and_how_to_choose(refused):
    said = refused("auto", ["10.0.0.2:6380", "10.0.0.2:6379"])
    assert said.startswith(
        "RAY_ADDRESS=auto finds 2 Rays on this machine; set RAY_ADDRESS=10.0.0.2:6379 or "
        "RAY_ADDRESS=10.0.0.2:6380"
    )


def test_the_only_ray_of_a_machine_is_joined(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(ray_session, "find_gcs_addresses", lambda: {"10.0.0.2:6379"})
    check_ray_address()


def test_no_ray_on_a_machine(refused):
    assert "RAY_ADDRESS=auto finds no Ray on this machine" in refused("auto")


def test_the_address_that_jobs_are_submitted_to_is_not_the_clusters(refused):
    said = refused("http://127.0.0.1:8265")
    assert "RAY_API_SERVER_ADDRESS" in said
    assert "HOST:PORT" in said


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:port"])
def test_what_is_no_address(refused, address):
    assert f"RAY_ADDRESS={address} is not HOST:PORT" in refused(address)


def test_an_address_that_nothing_listens_at_is_told_at_once_and_one_that_answers_is_taken(
    refused, monkeypatch
):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        check_ray_address()
    assert f"there is no Ray at RAY_ADDRESS={address} (" in refused(address)


ABSOLUTE = ("/labels", "~/labels", "s3://bucket/labels")


@pytest.fixture(params=["shipped", "not shipped"])
def submitted(request, tmp_path, monkeypatch):
    """As Ray starts a submitted job, with and without `--working-dir`."""
    folder = (
        tmp_path / "working_dir_files" / "_ray_pkg_1" if request.param == "shipped" else tmp_path
    )
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv(_SUBMITTED, "{}")


@pytest.mark.usefixtures("submitted")
def test_a_submitted_job_takes_no_relative_place():
    for place in ABSOLUTE:
        check_outlives_job(place)
    for place in ("labels", "./labels", "../labels"):
        with pytest.raises(UsageError, match=rf"^INPUT {place} is relative to .* name an absolute"):
            check_outlives_job(place, "INPUT")


def test_other_jobs_take_any_place(tmp_path, monkeypatch):
    monkeypatch.delenv(_SUBMITTED, raising=False)
    monkeypatch.chdir(tmp_path)
    for place in (*ABSOLUTE, "labels"):
        check_outlives_job(place)


COMMANDS = {
    "INPUT": (label_command, ["videos", "/out"]),
    "OUTPUT": (label_command, ["/videos", "out"]),
    "INPUT of the evaluation": (evaluation, ["videos.csv", "/out"]),
    "OUTPUT of the evaluation": (evaluation, ["/videos.csv", "out"]),
    "INPUT of the calibration": (calibration, ["videos", "/early-exit.json"]),
    "EARLY_EXIT": (calibration, ["/videos", "early-exit.json"]),
    "--sweep": (calibration, ["/videos", "/early-exit.json", "--sweep", "sweep"]),
}


@pytest.mark.usefixtures("submitted")
@pytest.mark.parametrize("what", COMMANDS)
def test_every_job_for_a_cluster_refuses_each_relative_place(what, capsys):
    module, words = COMMANDS[what]
    task = ("k400",) if module is label_command else ()
    assert module.main(*task, [*words, "--checkpoint", "demo"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {what.partition(' ')[0]} ")
    assert " is relative to " in said
