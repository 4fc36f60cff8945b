"""What tests of several rooms share."""

import os

import pytest

from tests import scripted_storage
from tests.faults.archive import make_checkpoint
from tests.object_storage import object_storage as serve
from tests.sta.loopback import serving
from tests.unreliable import unreliable


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory):
    """A vit_demo of random weights, as a file: the tests of the machinery need no trained one."""
    return make_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def object_storage(tmp_path_factory):
    """A real S3 server on loopback that refuses wrong keys and can be stopped and started."""
    with serve(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_environment(object_storage):
    """The environment by which every client finds that server."""
    return object_storage.environment


@pytest.fixture
def s3(object_storage, monkeypatch):
    """A client of that server, whose settings also stand in this process's environment."""
    for name, value in object_storage.environment.items():
        monkeypatch.setitem(os.environ, name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return object_storage.client()


@pytest.fixture
def unreliable_s3(s3, object_storage, monkeypatch):
    """A relay to that server that spoils answers; this process's environment leads to the relay."""
    with unreliable(object_storage.endpoint) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", relay.endpoint)
        yield relay


@pytest.fixture
def storage(monkeypatch):
    """A storage that can be told to misbehave, found by the environment's settings."""
    with scripted_storage.running() as state:
        for name, value in state.settings().items():
            monkeypatch.setenv(name, value)
        yield state


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server on loopback, and a cache of its own for what is downloaded from it."""
    monkeypatch.setenv("STA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    with serving() as made:
        yield made
