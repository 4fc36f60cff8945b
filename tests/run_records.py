"""Records of runs for tests, from the parts of run.json that a test is about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.run.run_record import RunRecord

_IDENTITY = {
    **{"input": "/videos", "model": "sha256:m", "labels": "sha256:l"},
    **{"decoder": "pyav", "precision": "float32"},
}
_PROTOCOL = {"name": "videomae-k400", "clips": 1, "crops": 1}
_MODEL = {"architecture": "vit_demo", "checkpoint": "demo", "labels": []}
_DEVICE = {"cpu": "a CPU", "cpus": 8, "gpus": 0, "nodes": 1}
_ATTEMPT = {
    "began": "2026-11-24T22:00:00+00:00",
    "ended": None,
    "cpus": 8,
    "gpus": 0,
    "nodes": 1,
    "decoders": 3,
    "decoder_cpus": 1,
    "labelers": 1,
    "labeler_cpus": 1,
    "labeler_gpus": 0,
}


def run_record(content: Mapping[str, Any] | None = None) -> RunRecord:
    """The record of a run.json of which the test names some fields, and the others are made up."""
    given = dict(content or {})
    identity = dict(given.pop("identity", {}))
    protocol = _PROTOCOL | identity.pop("protocol", {})
    made = {
        "identity": _IDENTITY | {"protocol": protocol} | identity,
        "model": _MODEL | given.pop("model", {}),
        "attempts": [_ATTEMPT | each for each in given.pop("attempts", [])],
    }
    if "device" in given:
        made["device"] = _DEVICE | given.pop("device")
    return RunRecord.from_json(json.loads(json.dumps(made | given)))
