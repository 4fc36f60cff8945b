"""run.json as types: written, read back, and refused where a field is wrong."""

import json

import pytest

from pipeline.run.run_record import RunRecord
from tests.run_records import run_record

CONTENT = {
    "identity": {"limit": 3, "pruning": {"r": 22}, "shadow_share": 0.5},
    "model": {"labels": ["é"], "kept_grids": [[8, 7, 7]], "flops_per_view": 10},
    "device": {"labelers": ["a GPU"]},
    "attempts": [{"ended": "2026-11-24T23:00:00+00:00", "devices": ["a GPU"]}],
    "totals": {"videos": 3, "ok": 2, "examples": {"corrupt": [["a", "broken"]]}},
}


def test_a_record_is_read_as_it_was_written():
    record = run_record(CONTENT)
    written = json.loads(json.dumps(record.to_json()))
    assert RunRecord.from_json(written) == record
    assert RunRecord.from_json(written).to_json() == record.to_json()


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("identity", {"shadow": 1}, "identity.shadow is unknown"),
        ("identity", {"limit": "3"}, "identity.limit is '3'; it must be of type int"),
        ("model", {"flops_per_view": None}, "model.flops_per_view is None"),
        ("totals", {"clip": 1}, "totals.clip is unknown"),
    ],
)
def test_a_field_that_is_unknown_or_of_another_type_is_named(part, change, said):
    content = run_record(CONTENT).to_json()
    content[part] |= change
    with pytest.raises(ValueError, match=said):
        RunRecord.from_json(content)


def test_a_field_that_is_missing_is_named():
    content = run_record(CONTENT).to_json()
    del content["model"]["architecture"]
    with pytest.raises(ValueError, match=r"model\.architecture is missing"):
        RunRecord.from_json(content)
