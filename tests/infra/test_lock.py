"""The hash-locked lists of packages: whole, and of the versions that the tests run with."""

import importlib.metadata
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.infra.manifests import ROOT

KINDS = ("cpu", "cuda")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINE = re.compile(r"([\w.-]+)==(\S+)((?: --hash=sha256:[0-9a-f]{64})+)")


def locked(kind):
    """Version by package."""
    lines = (ROOT / "infra" / "docker" / f"requirements-{kind}.txt").read_text().splitlines()
    found = [LINE.fullmatch(line) for line in lines]
    assert None not in found
    versions = {canonicalize_name(match[1]): match[2] for match in found}
    assert len(versions) == len(lines)
    return versions


def constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    wanted = [Requirement(line) for line in lines if line and line[0] != "#"]
    return {canonicalize_name(each.name): each.specifier for each in wanted}


def needed(requirement, seen):
    """Names of what a requirement installs, by the metadata of what is installed here."""
    key = canonicalize_name(requirement.name), frozenset(requirement.extras)
    if key in seen:
        return
    seen.add(key)
    for text in importlib.metadata.requires(requirement.name) or ():
        each = Requirement(text)
        extras = ["", *requirement.extras]
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras):
            needed(each, seen)


@pytest.mark.parametrize("kind", KINDS)
def test_its_versions_are_those_of_the_constraints(kind):
    versions = locked(kind)
    for name, specifier in constraints().items():
        if name in versions:
            assert specifier.contains(versions[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_it_has_all_that_the_project_needs_in_versions_that_it_allows(kind):
    versions = locked(kind)
    wanted = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    wanted += [Requirement(text) for text in PROJECT["build-system"]["requires"]]
    for each in wanted:
        assert each.specifier.contains(versions[canonicalize_name(each.name)]), each
    seen = set()
    for each in wanted[:-1]:
        needed(each, seen)
    assert {name for name, _ in seen} <= versions.keys() | {"setuptools"}


def test_the_images_differ_in_torch_and_its_cuda_alone():
    cpu, cuda = map(locked, KINDS)
    assert cuda.pop("torch") == constraints_of_torch()
    assert cpu.pop("torch") == f"{constraints_of_torch()}+cpu"
    more = cuda.keys() - cpu.keys()
    assert all(name.startswith(("nvidia-", "cuda-", "triton")) for name in more)
    assert {name: cuda[name] for name in cpu} == cpu


def constraints_of_torch():
    (pin,) = constraints()["torch"]
    assert pin.operator == "=="
    return pin.version
