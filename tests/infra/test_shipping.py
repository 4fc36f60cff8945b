"""What `ray job submit --working-dir .` ships, found by Ray's own packing."""

import subprocess
import sys
import zipfile

import pytest
from ray._private.runtime_env.packaging import create_package

from tests.infra.manifests import ROOT

# Ray warns of more than 10 MiB; the demonstration's weights are 5.7 of it.
MOST_BYTES = 9.5 * 2**20


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("package") / "code.zip"
    create_package(str(ROOT), path, include_gitignore=True)
    return path


def test_the_program_is_shipped_and_nothing_else(package):
    with zipfile.ZipFile(package) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"sta", "workers", "pipeline", "jobs", "infra"}
    assert {name for name in names if name.startswith("infra/")} <= {"infra/prices.yaml"}
    endings = {name.rpartition(".")[2] for name in names}
    assert endings <= {"py", "typed", "j2", "safetensors", "yaml"}


def test_it_is_small(package):
    assert package.stat().st_size < MOST_BYTES


def test_what_is_shipped_runs_by_itself(package, tmp_path):
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path)
    command = [sys.executable, "-P", "jobs/label_k400.py", "--help"]
    environment = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--max-cpus" in done.stdout
