"""Attempts of a run: what the cluster was, also when it grew meanwhile."""

from pipeline.execution import attempts

SMALL = {"cpu": "a core", "cpus": 0.0, "gpus": 0.0, "nodes": 1}
LARGE = {"cpu": "a core", "cpus": 24.0, "gpus": 2.0, "nodes": 4}


def test_an_attempt_says_how_large_its_cluster_became(monkeypatch):
    content = {
        attempts.DEVICE: dict(SMALL),
        attempts.ATTEMPTS: [{"cpus": 0.0, "gpus": 0.0, "nodes": 1}],
    }
    for seen in (LARGE, SMALL):  # machines that idle are given back
        monkeypatch.setattr(attempts, "describe_cluster", lambda seen=seen: dict(seen))
        attempts.note_growth(content)
    assert content[attempts.DEVICE] == LARGE
    assert content[attempts.ATTEMPTS] == [{"cpus": 24.0, "gpus": 2.0, "nodes": 4}]
