"""What the tests of the manifests share: reading them, building overlays, and the schemas."""

from __future__ import annotations

import functools
import gzip
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBERAY = ROOT / "infra" / "kuberay"
OVERLAYS = ("dev", "prod")

_CRDS = Path(os.environ.get("STA_KUBERAY_CRDS", ROOT.parent / "shared" / "kuberay"))
needs_crds = pytest.mark.skipif(not _CRDS.is_dir(), reason="KubeRay's CRDs are not here")

_BUILDERS = {"kustomize": ["kustomize", "build"], "kubectl": ["kubectl", "kustomize"]}
_BUILDER = next((words for name, words in _BUILDERS.items() if shutil.which(name)), None)
needs_kustomize = pytest.mark.skipif(
    _BUILDER is None, reason="neither kustomize nor kubectl is installed"
)


def base() -> list[dict[str, Any]]:
    """Every manifest of the base, as it is written."""
    listed = yaml.safe_load((KUBERAY / "base" / "kustomization.yaml").read_text())["resources"]
    return [each for name in listed for each in _documents((KUBERAY / "base" / name).read_text())]


@functools.cache
def overlay(name: str) -> list[dict[str, Any]]:
    """Every manifest of an overlay, as kustomize builds it."""
    assert _BUILDER is not None
    built = subprocess.run(
        [*_BUILDER, str(KUBERAY / "overlays" / name)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return _documents(built.stdout)


def only(manifests: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The manifest of a kind of which there is one."""
    (found,) = (each for each in manifests if each["kind"] == kind)
    return found


@functools.cache
def crd_schema(plural: str) -> dict[str, Any]:
    """The JSON schema of KubeRay's version v1 of a resource, which refuses unknown fields."""
    with gzip.open(_CRDS / f"{plural}.crd.yaml.gz") as file:
        versions = yaml.load(file, yaml.CSafeLoader)["spec"]["versions"]
    (version,) = (each for each in versions if each["name"] == "v1")
    schema = _strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def _strict(schema: Any) -> Any:
    """OpenAPI as Kubernetes writes it, as JSON schema; fields that it would prune are errors."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {key: value for key, value in schema.items() if key not in ("format", "default")}
    if "properties" in schema:
        made["properties"] = {name: _strict(each) for name, each in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties", "allOf", "anyOf", "oneOf", "not"):
        if key in schema:
            made[key] = _strict(schema[key])
    if schema.get("nullable"):
        made["type"] = [schema["type"], "null"]
    return made


def _documents(text: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(text) if each]
