"""What is compared: every switch of Table 6, and all of it at equal FLOPs."""

import dataclasses

import pytest

import sta
from pipeline.errors import UsageError
from pipeline.lab.baselines.shares import METHODS
from pipeline.lab.evaluation.paper import ABLATIONS
from pipeline.lab.evaluation.variants import all_variants, at_shares, chosen
from workers.inference.reduction import variant_flops


def flops(architecture, pruning):
    return sta.estimate_flops(architecture, pruning=pruning, num_classes=400)


@pytest.mark.parametrize("architecture", ["vit_demo", "vit_base", "vit_large"])
def test_what_a_table_compares_costs_the_same(architecture):
    by_name = {each.name: each for each in all_variants(architecture)}
    for comparison in ABLATIONS:
        if comparison.key == "cost":
            continue
        costs = [
            flops(architecture, pruning)
            for name in comparison.rows
            for pruning in by_name[name].prunings
        ]
        allowed = 1.03 if comparison.key == "6d" else 1.01
        assert max(costs) <= allowed * min(costs), comparison.title


def test_every_comparison_of_the_paper_has_its_variants_and_differs_in_one_switch():
    by_name = {each.name: each.prunings[0] for each in all_variants("vit_large")}
    for comparison in ABLATIONS:
        base = dataclasses.asdict(by_name[comparison.base])
        for name in comparison.rows:
            other = dataclasses.asdict(by_name[name])
            changed = {key for key in base if base[key] != other[key]}
            if name == "unpruned":
                assert other["r"] == 0
            elif comparison.key == "6d":
                assert changed <= {"schedule", "r"}
            else:
                assert len(changed) == (name != comparison.base), (name, changed)


def test_names_in_a_sweep_are_unique_and_every_pruning_fits_the_model():
    for architecture in ("vit_demo", "vit_small", "videoswin_tiny"):
        sweep = [item for each in all_variants(architecture) for item in each.sweep().items()]
        names = [name for name, _ in sweep]
        assert len(set(names)) == len(names)
        for _, pruning in sweep:
            sta.ARCHITECTURES[architecture].stages(pruning)


def test_chance_is_tried_with_every_seed_and_nothing_else_is():
    by_name = {each.name: each for each in all_variants("vit_demo", seeds=4)}
    for name in ("random", "first-random", "first-grid"):
        assert [pruning.seed for pruning in by_name[name].prunings] == [0, 1, 2, 3]
        assert list(by_name[name].sweep()) == [f"{name}-{seed}" for seed in range(4)]
    assert list(by_name["order-FFF"].sweep()) == ["order-FFF"]


def test_random_tokens_are_tried_at_every_r_of_the_curve_of_sta():
    points = {
        kind: {
            each.r for each in all_variants("vit_large") if each.name.startswith(f"curve-{kind}")
        }
        for kind in ("sta", "random")
    }
    assert points["sta"] == points["random"] == {16, 32, 48, 80, 96}


def test_a_curve_ends_at_the_largest_r_and_names_no_r_twice():
    rates = [each.r for each in all_variants("vit_demo") if each.name.startswith("curve-sta")]
    assert rates == [6, 11, 16, sta.architecture_config("vit_demo").largest_r(sta.Pruning())]


def test_only_what_was_named_is_tried_with_the_two_that_all_is_measured_by():
    variants = all_variants("vit_demo")
    assert [each.name for each in chosen(variants, ["order", "random"])] == [
        *("unpruned", "sta", "random", "order-BFB", "order-FFF", "order-BBB")
    ]
    assert [each.name for each in chosen(variants, ["score-semantics"])] == [
        *("unpruned", "sta", "score-semantics")
    ]


def test_a_name_that_fits_nothing_is_refused_with_those_that_do():
    with pytest.raises(
        UsageError, match="there is no 'orders'; there are unpruned, sta, .*order-B"
    ):
        chosen(all_variants("vit_demo"), ["orders"])


@pytest.mark.parametrize("r", [0, 25])
def test_an_r_that_cannot_be_is_refused_with_the_largest(r):
    with pytest.raises(UsageError, match=f"--r must be 1 to 24 for vit_demo; got {r}"):
        all_variants("vit_demo", r=r)


def test_no_seed_is_refused():
    with pytest.raises(UsageError, match="--seeds must be 1 or more; got 0"):
        all_variants("vit_demo", seeds=0)


def test_methods_at_a_share_are_compared_with_sta_at_the_same_share():
    made = at_shares(["tome@50%", "random@35%"], "vit_large", seeds=2)
    assert [(each.name, each.base, len(each.prunings)) for each in made] == [
        ("sta@50%", "sta@50%", 1),
        ("tome@50%", "sta@50%", 1),
        ("sta@35%", "sta@35%", 1),
        ("random@35%", "sta@35%", 2),
    ]
    assert list(made[-1].sweep()) == ["random@35%-0", "random@35%-1"]
    assert [each.seed for each in made[-1].prunings] == [0, 1]
    assert made[1].setting == f"{made[1].prunings[0].r} per block"
    assert made[1].about.startswith("ToMe, 50.6 % of the FLOPs")


def test_methods_have_the_flops_of_sta_where_it_does_not_reach_the_share():
    made = at_shares(["@35%"], "vit_demo")
    costs = [
        variant_flops(each.prunings[0], sta.architecture_config("vit_demo"), num_classes=400)
        for each in made
    ]
    assert max(costs) <= 1.005 * min(costs)
    assert made[0].about == "STA, random first frame, 39.6 % of the FLOPs"
    # Its first frame is random.
    assert [each.seed for each in made[0].prunings] == [0, 1, 2]


def test_a_share_alone_names_every_method():
    assert [each.method for each in at_shares(["@50%"], "vit_demo")] == list(METHODS)


def test_rlt_with_a_threshold_is_compared_with_sta_as_it_is_by_default():
    (found,) = at_shares(["rlt-threshold@0.1"], "vit_demo")
    assert (found.name, found.base, found.about) == (
        *("rlt-threshold@0.1", "sta", "RLT, threshold 0.1"),
    )
    with pytest.raises(UsageError, match="RLT needs a ViT; videoswin_tiny is none"):
        at_shares(["rlt-threshold@0.1"], "videoswin_tiny")
