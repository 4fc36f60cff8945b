"""A plan as text and as JSON."""

import pytest

from pipeline.planner.plan import LocalPools, plan_for
from pipeline.planner.rates import PRUNED
from pipeline.planner.report import as_json, text
from tests.pipeline.planner.made_up_rates import rates, terms


def test_the_table_and_the_json_say_the_same():
    found = rates()
    plan = plan_for(found, terms(), LocalPools(24, 8), with_cluster=True)
    said = text(plan, {PRUNED: "python jobs/x.py"}, gpu_price=True)
    told = as_json(plan, {PRUNED: "python jobs/x.py"})
    pruned, unpruned = told["variants"]
    assert "10/s, 100 video-h/h" in said  # ten units of ten seconds a second
    assert pruned["labeler_units_per_s"] == pytest.approx(10)
    assert pruned["decoders_per_labeler"] == pytest.approx(2.5)
    assert f"{pruned['cluster']['money']:,.2f} USD" in said
    assert f"{unpruned['cluster']['money']:,.2f} USD" in said
    saved = 100 * (1 - pruned["cluster"]["money"] / unpruned["cluster"]["money"])
    assert f"Pruning saves {saved:.0f} % of the cost." in said
    assert "pruned: python jobs/x.py" in said
    assert "This machine has no GPU" not in said


def test_a_gpus_price_on_a_machine_without_one_is_remarked_on():
    found = rates(gpus=0, start_s=3.0)
    plan = plan_for(found, terms(on_gpu=False), LocalPools(1, 2), with_cluster=True)
    assert "This machine has no GPU" in text(plan, {}, gpu_price=True)
    assert "This machine has no GPU" not in text(plan, {}, gpu_price=False)
