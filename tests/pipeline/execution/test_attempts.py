"""Starts of a run: what the cluster was, also when it grew meanwhile."""

from pipeline.execution import attempts as starts

SMALL = {"cpu": "a core", "cpus": 0.0, "gpus": 0.0, "nodes": 1}
LARGE = {"cpu": "a core", "cpus": 24.0, "gpus": 2.0, "nodes": 4}


def test_a_start_says_how_large_its_cluster_became(monkeypatch):
    content = {starts.DEVICE: dict(SMALL), starts.STARTS: [{"cpus": 0.0, "gpus": 0.0, "nodes": 1}]}
    for seen in (LARGE, SMALL):  # machines that idle are given back
        monkeypatch.setattr(starts, "describe_cluster", lambda seen=seen: dict(seen))
        starts.note_growth(content)
    assert content[starts.DEVICE] == LARGE
    assert content[starts.STARTS] == [{"cpus": 24.0, "gpus": 2.0, "nodes": 4}]
