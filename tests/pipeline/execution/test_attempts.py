"""Attempts of a run: what the cluster was, also when it grew meanwhile."""

from pipeline.execution import attempts
from pipeline.run.run_record import ClusterRecord
from tests.run_records import run_record

SMALL = ClusterRecord("a core", cpus=0.0, gpus=0.0, nodes=1)
LARGE = ClusterRecord("a core", cpus=24.0, gpus=2.0, nodes=4)


def test_an_attempt_says_how_large_its_cluster_became(monkeypatch):
    small = {"cpus": 0.0, "gpus": 0.0, "nodes": 1}
    record = run_record({"device": small | {"cpu": "a core"}, "attempts": [small]})
    for seen in (LARGE, SMALL):  # machines that idle are given back
        monkeypatch.setattr(attempts, "describe_cluster", lambda seen=seen: seen)
        record = attempts.note_growth(record)
    assert record.device == LARGE
    assert (record.attempts[0].cpus, record.attempts[0].gpus, record.attempts[0].nodes) == (
        24,
        2,
        4,
    )
