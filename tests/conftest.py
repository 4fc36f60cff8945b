"""What tests of several rooms share."""

import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.faults.archive import make_checkpoint


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory):
    """A vit_demo of random weights, as a file: the tests of the machinery need no trained one."""
    return make_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def s3_environment():
    """A real S3 server on loopback, and the environment that every client finds it by."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=1)
                break
            except OSError:
                time.sleep(0.1)
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }
    finally:
        server.terminate()
        server.wait(timeout=10)


@pytest.fixture
def s3(s3_environment, monkeypatch):
    """A client of that server, whose settings also stand in this process's environment."""
    import boto3

    for name, value in s3_environment.items():
        monkeypatch.setitem(os.environ, name, value)
    return boto3.client("s3")
