"""The benchmark of the labeler: what it times is what it says."""

import dataclasses
import json

import pytest

from pipeline.lab.benchmark.labeler import LabelerBenchmark, run_labeler
from pipeline.lab.benchmark.paired import OutputsDiffer
from pipeline.lab.benchmark.report import save
from workers.inference.labeler import EvaluatedViews, Labeler


def test_the_report_says_what_share_of_the_model_the_labeler_keeps(tmp_path):
    options = LabelerBenchmark(units=2, views=(1, 3), batch=4, rounds=2, r=0)
    report = run_labeler(options, say=lambda line: None)
    (row,) = report.rows
    assert (row["architecture"], row["batch"], row["graph"]) == ("vit_demo", 4, "eager")
    assert (row["r"], row["views"]) == (0, 6)
    assert row["kept"].median > 0
    assert row["labeler"].median > 0
    saved = json.loads(save(report, tmp_path)[0].read_text())
    assert saved["conditions"]["seconds"] == "of all cores"
    assert "labeler views/s" in report.text()


def test_options_that_measure_nothing_are_refused():
    with pytest.raises(ValueError, match="1 or more"):
        LabelerBenchmark(units=0)
    with pytest.raises(ValueError, match="unknown architecture"):
        LabelerBenchmark(architectures=("vit_none",))


def test_labels_that_are_not_the_models_own_are_found_before_anything_is_timed(monkeypatch):
    label = Labeler.label

    def turned(made, units):
        return [
            EvaluatedViews(
                [
                    dataclasses.replace(view, probabilities=view.probabilities[::-1])
                    for view in evaluated.views
                ]
            )
            for evaluated in label(made, units)
        ]

    monkeypatch.setattr(Labeler, "label", turned)
    with pytest.raises(OutputsDiffer, match="clip 0, crop 0 differ by .* from the model's own"):
        run_labeler(LabelerBenchmark(units=1, views=(1, 1), batch=1, rounds=1))
