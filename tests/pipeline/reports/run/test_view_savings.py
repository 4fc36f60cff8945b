"""What early exit saves, and what its runs are compared with."""

import json
from pathlib import Path

import pytest

from pipeline.reports.cost.compare import compare
from pipeline.reports.cost.presentation import tables
from pipeline.reports.run.unpruned_sample import advice, culprit
from pipeline.run.view_savings import ViewSavings, all_views
from tests.pipeline.synthetic_runs import Made, make_run
from tests.run_records import run_record

EARLY_EXIT = {"threshold": 0.5, "max_views": None, "agreement": 0.99, "confidence": 0.95}


def content(*, r=22, **identity):
    views = {"pruning": {"r": r}, "protocol": {"clips": 5, "crops": 3}}
    return run_record({"identity": views | identity, "model": {"flops_per_view_unpruned": 20}})


def test_shares_are_of_all_views_pruned_and_unpruned():
    savings = ViewSavings.of_run(content(early_exit=EARLY_EXIT), videos=10, views=30, flops=300)
    assert (savings.mean, savings.views_per_video) == (3.0, 15)
    assert savings.share_of_all == pytest.approx(30 / 150)
    assert savings.share_of_unpruned == pytest.approx(300 / (150 * 20))


def test_nothing_is_saved_without_early_exit_or_labels():
    assert ViewSavings.of_run(content(), videos=10, views=150, flops=1500) is None
    assert ViewSavings.of_run(content(early_exit=EARLY_EXIT), videos=0, views=0, flops=0) is None


@pytest.mark.parametrize(
    ("made", "compared", "blamed"),
    [
        (content(), "without pruning", "pruning"),
        (
            content(early_exit=EARLY_EXIT),
            "with all views and without pruning",
            "pruning or early exit",
        ),
        (content(early_exit=EARLY_EXIT, r=0), "with all views", "early exit"),
    ],
)
def test_what_a_sample_is_compared_by_and_what_may_have_cost_labels(made, compared, blamed):
    assert all_views(made.identity) == compared
    assert culprit(made) == blamed
    assert ("early-exit file" in " ".join(advice(made))) == (made.identity.early_exit is not None)


def adaptive(folder, made):
    """A run with early exit, of two views per video."""
    output = make_run(folder, made)
    file = Path(output) / "run.json"
    run = json.loads(file.read_text())
    run["identity"] |= {"early_exit": EARLY_EXIT}
    run["identity"]["protocol"] |= {"crops": 2}
    file.write_text(json.dumps(run))
    return output


def test_a_cost_report_compares_with_the_run_of_all_views(tmp_path):
    quick = adaptive(tmp_path / "quick", Made(views=1))
    every = make_run(tmp_path / "every", Made(views=2))
    found = compare([quick, every])
    assert found.reference.run.name == "every"
    assert found.runs[0].run.pruning == "unpruned, early exit"
    assert any("differ in their early exit (quick: 99 % agreement" in note for note in found.notes)
    work = next(table for table in tables(found) if table.title == "Work of the shared videos")
    rows = {row[0]: row[1:] for row in work.rows}
    assert rows["Views per video"] == ("1 (50.0 %)", "2")
    assert "50.0 %" in rows["FLOPs per video"][0]


def test_a_cost_report_says_where_every_run_uses_early_exit(tmp_path):
    runs = [adaptive(tmp_path / name, Made(views=1)) for name in ("one", "two")]
    found = compare(runs)
    assert "No run is unpruned with all views; one is the reference." in found.notes


def test_views_per_video_are_left_out_without_early_exit(tmp_path):
    runs = [make_run(tmp_path / name, Made(r=r)) for name, r in (("one", 0), ("two", 22))]
    (work, *_) = [t for t in tables(compare(runs)) if t.title == "Work of the shared videos"]
    assert "Views per video" not in [row[0] for row in work.rows]
