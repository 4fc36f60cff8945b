"""Verdicts: the order is the paper's, is not, or cannot be told."""

import dataclasses
import math

import numpy as np
import pytest

import sta
from pipeline.lab.evaluation.paper_agreement import Verdict, tables, verdict_of
from pipeline.lab.evaluation.scores import Scores, VariantScores
from pipeline.lab.evaluation.variants import all_variants
from pipeline.statistics import Estimate

VARIANTS = all_variants("vit_demo", seeds=1)


def estimate(value, low, high):
    return Estimate(value, low, high, 100)


def simulated_scores(**shares):
    """On 200 videos the first so many are right; all variants that are not named as STA."""
    by_variant = {}
    for variant in VARIANTS:
        share = shares.get(variant.name.replace("-", "_"), shares["sta"])
        hits = (np.arange(200) < 200 * share).astype(float)
        by_variant[variant.name] = VariantScores(hits, hits, hits, hits, hits, 1)
    return Scores(by_variant, 200, 0, 0, {})


def by_key(found):
    return {table.key: table for table in tables(found, VARIANTS)}


def test_an_interval_that_leaves_zero_out_tells():
    assert verdict_of(-0.2, estimate(-0.05, -0.09, -0.01)) is Verdict.SAME
    assert verdict_of(0.2, estimate(0.05, 0.01, 0.09)) is Verdict.SAME
    assert verdict_of(-0.2, estimate(0.05, 0.01, 0.09)) is Verdict.OTHER
    assert verdict_of(0.1, estimate(-0.05, -0.09, -0.01)) is Verdict.OTHER


def test_an_interval_with_zero_in_it_tells_nothing_however_large_the_difference():
    assert verdict_of(-0.2, estimate(-0.2, -0.4, 0.0)) is Verdict.OPEN
    assert verdict_of(-0.2, estimate(0.0, 0.0, 0.0)) is Verdict.OPEN
    assert verdict_of(-0.2, Estimate(math.nan, math.nan, math.nan, 0)) is Verdict.OPEN


def test_where_the_paper_says_nothing_nothing_is_judged():
    assert verdict_of(None, estimate(0.05, 0.01, 0.09)) is None


def test_a_table_has_the_papers_order_if_every_line_has():
    found = by_key(simulated_scores(sta=0.9, score_semantics=0.7, score_redundancy=0.8))
    assert found["6e"].verdict is Verdict.SAME


def test_one_line_that_cannot_be_told_leaves_the_order_open():
    found = by_key(simulated_scores(sta=0.9, score_semantics=0.7))
    assert found["6e"].verdict is Verdict.OPEN


def test_one_line_against_it_is_another_order_whatever_the_others_say():
    found = by_key(simulated_scores(sta=0.8, score_semantics=0.9))
    assert found["6e"].verdict is Verdict.OTHER


def test_single_views_tell_what_the_mean_over_them_hides():
    found = simulated_scores(sta=0.9)
    before = found.by_variant["order-FFF"]
    worse = np.where(np.arange(200) < 100, 0.8, before.per_view)
    found.by_variant["order-FFF"] = dataclasses.replace(before, per_view=worse)
    by_name = {line.variant: line for line in by_key(found)["6b"].lines}
    assert by_name["order-FFF"].verdict is Verdict.OPEN
    assert by_name["order-FFF"].view_verdict is Verdict.SAME
    assert by_name["order-FFF"].view_difference.value == pytest.approx(-0.1)
    assert by_name["order-BBB"].view_verdict is Verdict.OPEN


def test_the_papers_differences_are_those_of_its_table():
    found = by_key(simulated_scores(sta=0.9))
    expected = {line.variant: line.expected for line in found["6b"].lines}
    assert expected["sta"] is None
    assert expected["order-BFB"] == pytest.approx(0.01)
    assert expected["order-FFF"] == pytest.approx(-0.70)
    schedules = {line.variant: line.expected for line in found["6d"].lines}
    assert schedules["schedule-increasing"] == pytest.approx(-7.28)


def test_random_tokens_are_compared_with_sta_at_the_same_r():
    lines = by_key(simulated_scores(sta=0.9, random=0.8))["figure5"].lines
    rates = {each.name: each.r for each in VARIANTS}
    assert [rates[line.variant] for line in lines] == [6, 11, 16, 22, 24]
    assert all(rates[line.variant] == rates[line.base] for line in lines)
    assert {line.variant: line.verdict for line in lines}["random"] is Verdict.SAME


def test_what_was_not_tried_is_in_no_table():
    few = [each for each in VARIANTS if each.name in ("unpruned", "sta", "order-FFF")]
    whole = simulated_scores(sta=0.9)
    found = Scores({v.name: whole.by_variant[v.name] for v in few}, 200, 0, 0, {})
    named = {table.key: [line.variant for line in table.lines] for table in tables(found, few)}
    assert named == {"cost": ["unpruned", "sta"], "6b": ["sta", "order-FFF"]}


def test_the_default_of_every_model_is_the_one_of_the_paper():
    assert sta.default_pruning("vit_large") == sta.Pruning(r=64)
