"""The STA score: what it promises on any input, and that its fast form is Algorithm 1."""

import itertools

import numpy as np
import pytest
import torch

from sta.pruning import Pruning, PruningStage
from sta.score import (
    fixed_selection,
    grid_selection,
    random_selection,
    select_tokens,
    semantic_score,
    tome_ranking,
    transitions,
    unit_keys,
)
from tests.sta.plain import plain_select_tokens


def random_stage(seed, *, batch=2, groups=8, tokens=20, width=12, key_width=6):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, groups, tokens, width, generator=generator, dtype=torch.float64)
    keys = torch.randn(batch, groups, tokens, key_width, generator=generator, dtype=torch.float64)
    return x, keys


@pytest.mark.parametrize(
    ("grouping", "backward", "shape", "score"),
    list(
        itertools.product(
            ("released", "paper"),
            (False, True),
            (
                (8, 20, 6),
                (4, 20, 17),
                (8, 196, 64),
                (4, 13, 6),
                (2, 31, 1),
                (1, 16, 8),
                (16, 9, 4),
                (3, 2, 1),
            ),
            ("sta", "semantics", "redundancy"),
        )
    ),
)
def test_all_transitions_up_front_choose_the_same_tokens_in_the_same_order_as_algorithm_1(
    grouping, backward, shape, score
):
    groups, tokens, drop = shape
    stage = PruningStage(block=0, groups=groups, tokens=tokens, drop=drop, backward=backward)
    for temperature, seed in ((1.0, 1), (0.1, 2)):
        pruning = Pruning(r=drop, grouping=grouping, temperature=temperature, score=score)
        x, keys = random_stage(seed, groups=groups, tokens=tokens)
        fast = select_tokens(x, keys, pruning=pruning, stage=stage)
        assert torch.equal(fast, plain_select_tokens(x, keys, pruning=pruning, stage=stage))


def test_transition_columns_sum_to_one_so_that_no_mass_is_lost():
    _, keys = random_stage(0)
    step = transitions(unit_keys(keys))
    torch.testing.assert_close(step.sum(dim=-2), torch.ones_like(step[..., 0, :]))
    assert not torch.allclose(step.sum(dim=-1), torch.ones_like(step[..., 0]))


def test_accumulated_score_varies_between_tokens():
    _, keys = random_stage(0)
    mass = transitions(unit_keys(keys))[:, 0].mean(dim=-1)
    assert float(mass.std()) > 0
    torch.testing.assert_close(mass.sum(dim=-1), torch.ones(2, dtype=torch.float64))


def test_semantic_score_spans_zero_to_one_in_every_group():
    x, _ = random_stage(0)
    score = semantic_score(x)
    assert score.amin(dim=-1).eq(0).all()
    assert score.amax(dim=-1).eq(1).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_activations_have_no_semantics_and_are_not_a_division_by_zero(value):
    assert torch.equal(semantic_score(torch.full((1, 2, 5, 3), value)), torch.zeros(1, 2, 5))


@pytest.mark.parametrize("grouping", ["released", "paper"])
def test_zero_keys_and_constant_input_still_give_a_full_choice_of_distinct_tokens(grouping):
    stage = PruningStage(block=0, groups=4, tokens=10, drop=4, backward=False)
    x, keys = torch.zeros(1, 4, 10, 3), torch.zeros(1, 4, 10, 3)
    kept = select_tokens(x, keys, pruning=Pruning(r=4, grouping=grouping), stage=stage)
    assert kept.shape == (1, 4, 6)
    assert all(len(set(row.tolist())) == 6 for row in kept[0])


def test_one_zero_key_does_not_poison_later_frames():
    stage = PruningStage(block=0, groups=4, tokens=10, drop=4, backward=False)
    x, keys = random_stage(3, batch=1, groups=4, tokens=10)
    keys[0, 1, 2] = 0
    kept = select_tokens(x, keys, pruning=Pruning(r=4), stage=stage)
    assert all(len(set(row.tolist())) == 6 for row in kept[0])


def test_ties_go_to_the_lower_place():
    stage = PruningStage(block=0, groups=2, tokens=6, drop=2, backward=False)
    x, keys = torch.ones(1, 2, 6, 3), torch.ones(1, 2, 6, 3)
    kept = select_tokens(x, keys, pruning=Pruning(r=2, grouping="paper"), stage=stage)
    assert kept.tolist() == [[[0, 1, 3, 5], [0, 1, 2, 3]]]


def test_tome_drops_candidates_that_look_like_an_anchor_and_never_an_anchor():
    keys = unit_keys(torch.tensor([[[1.0, 0], [0, 1], [0, 1.1], [1, -1], [1, -0.9], [-1, -1]]]))
    order = tome_ranking(keys, drop=1)[0].tolist()
    assert order[:3] == [1, 3, 5]
    assert order[-1] == 2


@pytest.mark.parametrize("drop", range(1, 49))
def test_tome_can_drop_all_but_one_token_and_each_only_once(drop):
    _, keys = random_stage(4, batch=3, groups=1, tokens=49)
    order = tome_ranking(unit_keys(keys[:, 0]), drop=drop)
    assert (order.sort(dim=-1).values == torch.arange(49)).all()
    kept = set(order[0, : 49 - drop].tolist())
    candidates = set(range(0, 49, 2))
    assert not kept & candidates if drop >= 25 else kept - candidates == set(range(1, 49, 2))


def test_of_equal_anchors_one_goes_and_the_distinct_ones_stay():
    axes = torch.eye(5)
    anchors = [axes[0], axes[1], axes[2], axes[0], axes[3], axes[4]]
    keys = torch.stack([key for anchor in anchors for key in (axes[0], anchor)])[None]
    kept = tome_ranking(keys, drop=7)[0, :5].tolist()
    assert sorted(kept) == [3, 5, 7, 9, 11]


def test_backward_is_forward_on_the_reversed_clip():
    x, keys = random_stage(5)
    pruning = Pruning(r=6)
    forward = PruningStage(block=0, groups=8, tokens=20, drop=6, backward=False)
    backward = PruningStage(block=0, groups=8, tokens=20, drop=6, backward=True)
    a = select_tokens(x, keys, pruning=pruning, stage=backward)
    b = select_tokens(x.flip(1), keys.flip(1), pruning=pruning, stage=forward).flip(1)
    assert torch.equal(a, b)


def test_scores_are_at_least_float32_under_autocast_and_in_half_precision():
    stage = PruningStage(block=0, groups=4, tokens=20, drop=6, backward=False)
    x, keys = random_stage(7, groups=4)
    x, keys = x.bfloat16(), keys.bfloat16()
    want = select_tokens(x.float(), keys.float(), pruning=Pruning(r=6), stage=stage)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = select_tokens(x, keys, pruning=Pruning(r=6), stage=stage)
    assert torch.equal(got, want)


def test_a_fully_static_clip_has_its_repeated_tokens_dropped_evenly_not_all_from_one_place():
    generator = torch.Generator().manual_seed(0)
    frame_x = torch.randn(1, 1, 20, 8, generator=generator)
    frame_k = torch.randn(1, 1, 20, 4, generator=generator)
    stage = PruningStage(block=0, groups=8, tokens=20, drop=10, backward=False)
    kept = select_tokens(
        frame_x.expand(1, 8, 20, 8),
        frame_k.expand(1, 8, 20, 4),
        pruning=Pruning(r=10, score="redundancy"),
        stage=stage,
    )
    assert len({tuple(sorted(row.tolist())) for row in kept[0]}) > 1


def test_random_and_grid_drop_the_number_asked_for():
    rng = np.random.default_rng(0)
    for kept in (
        random_selection(rng, tokens=196, drop=64),
        grid_selection(rng, tokens=196, drop=64, grid_size=(14, 14)),
        grid_selection(rng, tokens=196, drop=48, grid_size=(14, 14)),
        grid_selection(rng, tokens=131, drop=37),
    ):
        assert len(set(kept.tolist())) == len(kept)
        assert (np.diff(kept) > 0).all()
    assert len(random_selection(rng, tokens=196, drop=64)) == 132
    assert len(grid_selection(rng, tokens=131, drop=37)) == 94


def test_grid_drops_one_token_of_every_cell():
    kept = grid_selection(np.random.default_rng(1), tokens=196, drop=49, grid_size=(14, 14))
    y, x = np.divmod(np.setdiff1d(np.arange(196), kept), 14)
    assert sorted(zip((y // 2).tolist(), (x // 2).tolist(), strict=True)) == list(
        itertools.product(range(7), range(7))
    )


@pytest.mark.parametrize(
    "switch", [{"score": "random"}, {"first_frame": "random"}, {"first_frame": "grid"}]
)
def test_random_choices_depend_on_the_seed_and_on_nothing_else(switch):
    stage = PruningStage(block=4, groups=4, tokens=20, drop=6, backward=False)
    x, keys = random_stage(0, groups=4)

    def choose(seed, rows):
        pruning = Pruning(r=6, seed=seed, **switch)
        fixed = fixed_selection(pruning, stage, grid_size=None)
        return select_tokens(x[rows], keys[rows], pruning=pruning, stage=stage, fixed=fixed)

    assert torch.equal(choose(0, slice(0, 1)), choose(0, slice(0, 2))[:1])
    assert torch.equal(choose(0, slice(0, 2)), choose(0, slice(0, 2)))
    assert not torch.equal(choose(0, slice(0, 2)), choose(1, slice(0, 2)))
