"""Every report gives the same amount for the same labeling, whatever devices its attempts had."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.planner.cluster import Rented
from pipeline.planner.cluster import cost as planned_cost
from pipeline.prices import Prices
from pipeline.reports.cost.compare import compare
from pipeline.reports.early_exit.budget import budget_outcome
from pipeline.reports.run.contents import contents
from pipeline.run.identity import EarlyExitTerms
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from tests.pipeline.synthetic_runs import ON_GPU, PRICES, Made, attempt, make_run

# A labeler on one core, then one on a GPU that costs sixty times as much.
ATTEMPTS = [attempt(0, 20.5), attempt(30, 50, **ON_GPU)]
BUDGET = {
    "flops": None,
    "money": 1.0,
    "units": 40,
    "slices": [
        {
            "threshold": 1.0,
            "max_views": None,
            "units": 40,
            "calibration": {"agreement": 1.0, "low": 0.99},
        }
    ],
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """What run report, cost report and budget report say of one run with two attempts."""
    folder = tmp_path_factory.mktemp("money")
    path = make_run(
        folder / "two attempts",
        Made(r=22, shadow=0.5),
        prices=PRICES,
        attempts=ATTEMPTS,
        budget=BUDGET,
    )
    other = make_run(folder / "other", Made(), prices=PRICES)
    run = RunDirectory(Location.of(path))
    record = run.load()
    terms = EarlyExitTerms(1.0, max_views=None, agreement=1.0, confidence=0.95)
    record = replace(record, identity=replace(record.identity, early_exit=terms))
    return SimpleNamespace(
        run=contents(run)["cost"],
        cost=compare([path, other]).runs[0],
        budget=budget_outcome(run, record),
        record=record,
    )


def test_labeling_costs_the_same_in_every_report(reports):
    of_run, of_cost = reports.run, reports.cost.work_cost
    assert of_run["labeling"] == pytest.approx(of_cost.labeling, rel=1e-12)
    assert of_run["decoding"] == pytest.approx(of_cost.decoding, rel=1e-12)
    assert of_run["work"] == pytest.approx(of_cost.total, rel=1e-12)
    assert of_run["shadow"] == pytest.approx(reports.cost.shadow_cost, rel=1e-12)
    assert of_run["shadow"] > 0
    assert reports.budget.spent == pytest.approx(of_cost.labeling + of_cost.decoding, rel=1e-12)
    assert reports.cost.per_video.sum() == pytest.approx(of_cost.total, rel=1e-12)


def test_each_row_is_priced_by_the_devices_of_its_attempt(reports):
    time = reports.cost.rows.used.labeling
    assert time.gpu_s > 0
    assert time.core_s > 0
    alone = (2.5 - 8 * 0.04) / 3600
    expected = time.core_s * 0.04 / 3600 + time.gpu_s * alone
    assert reports.run["labeling"] == pytest.approx(expected)
    by_last = reports.cost.rows.shared.device_s * alone
    assert reports.run["labeling"] < 0.7 * by_last


def test_the_cluster_costs_the_same_in_every_report_and_in_the_planner(reports):
    assert reports.run["cluster"] == pytest.approx(reports.cost.cluster.cost, rel=1e-12)
    prices = Prices.from_json(PRICES)
    rates = SimpleNamespace(decoded=SimpleNamespace(bytes_read=np.array([0.0])))
    terms = SimpleNamespace(prices=prices, work=SimpleNamespace(units=0))
    held = [
        planned_cost(rates, terms, Rented(1, gpus, 0, 0, cores, cores), seconds)
        for gpus, cores, seconds in ((0, 8, 20.5), (2, 16, 20.0))
    ]
    assert sum(held) + reports.run["reading"] == pytest.approx(reports.run["cluster"])
