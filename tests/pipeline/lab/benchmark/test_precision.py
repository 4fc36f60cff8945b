"""The `precision` part of the benchmark: both precisions of one model, and how they differ."""

import json

import pytest

from pipeline.lab.benchmark import precision
from pipeline.lab.benchmark.paired import OutputsDiffer
from pipeline.lab.benchmark.precision import PrecisionBenchmark, run_precision
from pipeline.lab.benchmark.report import save

ONE = PrecisionBenchmark(architectures=("vit_demo",), batch=1, rounds=1)


def test_the_report_has_both_precisions_and_their_ratio(tmp_path):
    report = run_precision(ONE, say=lambda line: None)
    (row,) = report.rows
    assert (row["architecture"], row["r"], row["batch"]) == ("vit_demo", 22, 1)
    assert row["speedup"].median == pytest.approx(row["bfloat16"].median / row["float32"].median)
    assert row["products"].median > 0
    assert 0 < row["difference"] < 0.2
    assert 0.8 < row["same_tokens"] <= 1
    saved = json.loads(save(report, tmp_path)[0].read_text())
    assert saved["conditions"]["threads"] == 1
    assert "of products" in report.text()


def test_outputs_that_rounding_does_not_explain_are_not_timed(monkeypatch):
    outputs = precision._outputs
    seen = []

    def turned(engine):
        ids, probabilities, *kept = outputs(engine)
        seen.append(engine)
        return ids, probabilities.flip(1) if len(seen) == 2 else probabilities, *kept

    monkeypatch.setattr(precision, "_outputs", turned)
    with pytest.raises(OutputsDiffer, match="vit_demo, r = 22: the probabilities in bfloat16"):
        run_precision(ONE, say=lambda line: None)


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ValueError, match="1 or more"):
        PrecisionBenchmark(batch=0)
