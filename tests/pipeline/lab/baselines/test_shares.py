"""A method at a share of the FLOPs has the setting that comes nearest, and says what it reaches."""

import dataclasses

import pytest

import sta
from pipeline.errors import UsageError
from pipeline.lab.baselines.merged_pruning import MergedPruning
from pipeline.lab.baselines.run_length import RLT, ThresholdRLT
from pipeline.lab.baselines.shares import (
    METHODS,
    at_share,
    at_shares_of_sta,
    fitting,
    parse_name,
    parse_threshold,
)
from pipeline.lab.baselines.token_merging import ToMe
from workers.inference.reduction import variant_flops

LARGE = sta.architecture_config("vit_large")


def flops(variant):
    return variant_flops(variant, LARGE, num_classes=400)


@pytest.mark.parametrize("share", [0.5, 0.35])
@pytest.mark.parametrize("method", METHODS)
def test_of_vit_large_every_method_reaches_the_share_and_says_by_how_much(method, share):
    found = at_share(method, share, LARGE, num_classes=400)
    assert found.flops == flops(found.variant)
    assert found.reached == found.flops / sta.estimate_flops("vit_large")
    assert found.reached == pytest.approx(share, abs=0.01)
    assert found.name == f"{method}@{100 * share:g}%"


@pytest.mark.parametrize(
    ("method", "one_less", "one_more"),
    [
        ("tome", lambda v: ToMe(v.r - 1), lambda v: ToMe(v.r + 1)),
        ("rlt", lambda v: RLT(v.drop - 1), lambda v: RLT(v.drop + 1)),
        *(
            (
                method,
                lambda v: dataclasses.replace(v, r=v.r - 1),
                lambda v: dataclasses.replace(v, r=v.r + 1),
            )
            for method in ("sta", "random")
        ),
    ],
)
def test_no_neighbor_is_nearer(method, one_less, one_more):
    found = at_share(method, 0.5, LARGE, num_classes=400)
    half = sta.estimate_flops("vit_large") / 2
    for other in (one_less, one_more):
        assert abs(found.flops - half) <= abs(flops(other(found.variant)) - half)


def test_a_share_that_sta_cannot_reach_is_approached_with_a_random_first_frame():
    demo = sta.architecture_config("vit_demo")
    found = at_share("sta", 0.35, demo, num_classes=9)
    assert found.variant == sta.Pruning(r=27, first_frame="random")
    assert found.reached == pytest.approx(0.396, abs=0.001)
    assert found.about == "STA, random first frame, 39.6 % of the FLOPs"
    assert at_share("tome", 0.35, demo, num_classes=9).reached == pytest.approx(0.35, abs=0.003)


def test_names_are_a_method_and_a_share_or_all_methods():
    assert parse_name("tome@50%") == (("tome",), 0.5)
    assert parse_name("rlt@37.5%") == (("rlt",), 0.375)
    assert parse_name("@35%") == (tuple(METHODS), 0.35)
    assert parse_threshold("rlt-threshold@0.2") == ThresholdRLT(0.2)
    assert parse_threshold("rlt@50%") is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("merge@50%", "there is no method 'merge'; there are sta, random, tome"),
        ("tome@50", "is written tome@50%, @50% for all methods"),
        ("tome@0%", "more than 0 % and less than 100 %"),
        ("tome@100%", "more than 0 % and less than 100 %"),
    ],
)
def test_a_wrong_name_is_refused_with_what_is_right(name, said):
    with pytest.raises(UsageError, match=said):
        parse_name(name)


def test_a_wrong_threshold_is_refused():
    for name in ("rlt-threshold@much", "rlt-threshold@-1", "rlt-threshold@nan"):
        with pytest.raises(UsageError, match="a threshold is a number of 0 or more"):
            parse_threshold(name)


def test_a_method_that_does_not_fit_the_model_is_refused_and_sta_fits_every_model():
    swin = sta.architecture_config("videoswin_tiny")
    with pytest.raises(UsageError, match="tome@70%: tome needs a ViT; sta and random fit every"):
        at_share("tome", 0.7, swin, num_classes=400)
    assert at_share("sta", 0.7, swin, num_classes=400).reached == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize(
    "architecture", ["vit_demo", "vjepa2_large", "vivit_base", "videoswin_tiny"]
)
def test_all_methods_are_those_that_fit_the_model_at_the_flops_that_sta_reaches(architecture):
    config = sta.architecture_config(architecture)
    methods = fitting("@35%", tuple(METHODS), config)
    pruning = sta.default_pruning(config)
    found = at_shares_of_sta(methods, 0.35, config, num_classes=400, pruning=pruning)
    assert [each.method for each in found] == list(methods)
    assert {"sta", "random"} <= set(methods)
    assert ("rlt" in methods) == (architecture != "videoswin_tiny")
    assert ("tome" in methods) == (architecture == "vit_demo")
    assert {each.name.partition("@")[2] for each in found} == {"35%"}
    for each in found:
        assert each.reached == pytest.approx(found[0].reached, abs=0.03)


def test_a_method_that_is_named_is_refused_where_it_does_not_fit_by_the_name_that_was_given():
    config = sta.architecture_config("vjepa2_large")
    methods = fitting("tome@50%", ("tome",), config)
    with pytest.raises(UsageError, match="^tome@50%: tome"):
        at_shares_of_sta(methods, 0.5, config, num_classes=400, pruning=sta.Pruning())


def test_merging_follows_keys_alone():
    with pytest.raises(ValueError, match="compares keys, similarity='k'; got 'ffn'"):
        MergedPruning(sta.Pruning(r=4, similarity="ffn"))
