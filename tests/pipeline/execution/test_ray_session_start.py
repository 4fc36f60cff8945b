"""Joining and starting Ray: one line where that fails, and a screen without its tracebacks."""

import collections
import logging
import shutil
import socket
import sys
import threading
import types

import pytest
import ray
from ray._private import worker

from pipeline.errors import RunError
from pipeline.execution import ray_session
from pipeline.execution.ray_session import ray_messages_aside, start_ray

Usage = collections.namedtuple("Usage", "total used free")


@pytest.fixture
def failing(monkeypatch):
    """Ray does not start; gives what the command says then."""

    def fail(**settings):
        raise RuntimeError("Timed out waiting\n  for file x")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", fail)

    def said():
        with pytest.raises(RunError) as caught:
            start_ray()
        return str(caught.value)

    return said


def test_a_ray_that_does_not_start_is_one_line(failing, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert failing() == "Ray could not be started: Timed out waiting for file x"
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        assert failing() == "Ray could not be joined: Timed out waiting for file x"


def test_a_full_temporary_folder_is_named(failing, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(9, 9, 4000))
    said = failing()
    assert said.endswith(
        f" (its temporary folder {tmp_path} has 4 kB free; set RAY_TMPDIR to another)"
    )


def test_of_rays_messages_tracebacks_are_not_shown(capsys):
    with ray_messages_aside():
        print("(raylet) 2 workers were killed for want of memory")
        print("(raylet) Task x failed. Error: Traceback (most recent call last):\n  File y")
        print("")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "(raylet) 2 workers were killed for want of memory\n"


def test_what_nodes_report_is_said_at_once_on_stderr(monkeypatch, capsys):
    """Ray would hold the repeated lines back, and print them on stdout after the result."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **settings: None)
    monkeypatch.setattr(worker, "print_to_stdstream", worker.print_to_stdstream)
    start_ray()
    listener = threading.Event()
    reports = iter(
        ["a disk is full", "a disk is full", "12 PYTHON worker processes have been started"]
    )

    def poll():
        line = next(reports, None)
        if line is None:
            listener.set()
            return b"", None
        return b"", {"job_id": None, "error_message": line}

    subscriber = types.SimpleNamespace(subscribe=lambda: None, poll=poll)
    driver = types.SimpleNamespace(
        gcs_error_subscriber=subscriber, current_job_id=ray.JobID.from_int(1)
    )
    worker.listen_error_messages(driver, listener)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "(raylet) a disk is full\n" * 2


def test_what_ray_logs_as_errors_goes_to_its_files_alone(monkeypatch):
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    ray_session._quieten()
    core, data = logging.getLogger("ray"), logging.getLogger("ray.data")
    shown = [
        handler
        for handler in (*core.handlers, *data.handlers)
        if isinstance(handler, logging.StreamHandler)
        and handler.level <= logging.CRITICAL
        and handler not in logging.getLogger().handlers  # pytest's
    ]
    files = [each for each in data.handlers if not isinstance(each, logging.StreamHandler)]
    assert shown == []
    assert files
    assert all(each in core.handlers for each in files)


def test_handlers_of_the_program_keep_their_level(monkeypatch):
    own = logging.StreamHandler()
    for logger in (logging.getLogger(), logging.getLogger("ray")):
        monkeypatch.setattr(logger, "handlers", [*logger.handlers, own])
    ray_session._quieten()
    assert own.level == logging.NOTSET
