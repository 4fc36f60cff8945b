"""What can be pruned, and what is refused with what would work."""

import pytest

from sta.pruning import Pruning, largest_r, largest_swin_r, swin_stages, vit_stages


@pytest.mark.parametrize(
    ("field", "value", "listed"),
    [
        ("grouping", "both", "'released', 'paper'"),
        ("direction", "FB", "'FBF', 'BFB', 'FFF', 'BBB'"),
        ("first_frame", "none", "'tome', 'random', 'grid'"),
        ("similarity", "x", "'k', 'q', 'v', 'ffn'"),
        ("schedule", "linear", "'decreasing', 'constant', 'increasing'"),
        ("score", "best", "'sta', 'semantics', 'redundancy', 'random'"),
    ],
)
def test_an_unknown_switch_is_refused_with_what_is_allowed(field, value, listed):
    with pytest.raises(ValueError, match=f"{field} must be one of {listed}"):
        Pruning(r=8, **{field: value})


@pytest.mark.parametrize("r", [-1, 1.5, True, False])
def test_r_is_a_whole_number(r):
    with pytest.raises(ValueError, match="r must be a whole number"):
        Pruning(r=r)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf")])
def test_temperature_is_above_zero(temperature):
    with pytest.raises(ValueError, match="temperature"):
        Pruning(temperature=temperature)


def test_released_stages_of_the_paper_are_8_4_and_2_groups_with_r_dropped_from_each():
    stages = vit_stages(Pruning(r=64), depth=12, temporal_positions=8, spatial_tokens=196)
    assert [(s.block, s.groups, s.tokens, s.drop, s.backward) for s in stages] == [
        (0, 8, 196, 64, False),
        (4, 4, 264, 64, True),
        (8, 2, 400, 64, False),
    ]


def test_paper_stages_drop_r_then_half_then_a_quarter_of_every_frame():
    pruning = Pruning(r=64, grouping="paper")
    stages = vit_stages(pruning, depth=32, temporal_positions=8, spatial_tokens=196)
    assert [(s.block, s.groups, s.tokens, s.drop) for s in stages] == [
        (0, 8, 196, 64),
        (10, 8, 132, 32),
        (21, 8, 100, 16),
    ]


@pytest.mark.parametrize("grouping", ["released", "paper"])
def test_tokens_left_are_the_papers(grouping):
    stages = vit_stages(
        Pruning(r=64, grouping=grouping), depth=12, temporal_positions=8, spatial_tokens=196
    )
    assert [s.groups * s.kept for s in stages] == [1056, 800, 672]


def test_r_0_has_no_stages():
    assert vit_stages(Pruning(r=0), depth=12, temporal_positions=8, spatial_tokens=196) == ()


def test_r_beyond_half_a_group_is_refused_with_the_stage_and_the_largest_r():
    with pytest.raises(
        ValueError, match=r"r = 99 .* stage 1 .* 99 of 196 .* largest r for this model is 98"
    ):
        vit_stages(Pruning(r=99), depth=12, temporal_positions=8, spatial_tokens=196)


def test_the_refused_stage_is_the_one_that_cannot_drop():
    pruning = Pruning(r=64, schedule="increasing")
    with pytest.raises(ValueError, match="stage 2 would drop"):
        vit_stages(pruning, depth=12, temporal_positions=8, spatial_tokens=196)


@pytest.mark.parametrize("first_frame", ["tome", "random", "grid"])
@pytest.mark.parametrize("schedule", ["decreasing", "constant", "increasing"])
@pytest.mark.parametrize("grouping", ["released", "paper"])
def test_the_largest_r_works_and_the_next_does_not(first_frame, schedule, grouping):
    pruning = Pruning(first_frame=first_frame, schedule=schedule, grouping=grouping)
    shape = {"temporal_positions": 8, "spatial_tokens": 49}
    limit = largest_r(pruning, **shape)

    def stages(r):
        return vit_stages(
            Pruning(r=r, first_frame=first_frame, schedule=schedule, grouping=grouping),
            depth=6,
            **shape,
        )

    assert all(stage.kept > 0 for stage in stages(limit))
    with pytest.raises(ValueError, match=f"largest r for this model is {limit}"):
        stages(limit + 1)


def test_released_needs_slots_in_fours_and_paper_does_not():
    with pytest.raises(ValueError, match="divisible by 4; got 6"):
        vit_stages(Pruning(r=8), depth=12, temporal_positions=6, spatial_tokens=196)
    assert vit_stages(
        Pruning(r=8, grouping="paper"), depth=12, temporal_positions=6, spatial_tokens=196
    )


@pytest.mark.parametrize(
    ("schedule", "drops"),
    [
        ("decreasing", [256, 96, 32]),
        ("constant", [256, 128, 48]),
        ("increasing", [64, 48, 28]),
    ],
)
def test_videoswin_prunes_each_of_its_shrinking_frames_on_its_own(schedule, drops):
    pruning = Pruning(r=drops[0], schedule=schedule)
    stages = swin_stages(pruning, temporal_positions=16, spatial_tokens=[784, 196, 49])
    assert [(s.block, s.groups, s.tokens, s.drop) for s in stages] == [
        (1, 16, 784, drops[0]),
        (2, 16, 196, drops[1]),
        (3, 16, 49, drops[2]),
    ]


def test_a_small_r_skips_the_stages_where_it_rounds_to_nothing():
    stages = swin_stages(Pruning(r=4), temporal_positions=6, spatial_tokens=[784, 196, 49])
    assert [(s.block, s.drop) for s in stages] == [(1, 4), (2, 1)]


@pytest.mark.parametrize("schedule", ["decreasing", "constant", "increasing"])
def test_the_largest_r_of_a_videoswin_works_and_the_next_does_not(schedule):
    tokens = [196, 49, 16]
    limit = largest_swin_r(Pruning(schedule=schedule), spatial_tokens=tokens)
    fits = swin_stages(
        Pruning(r=limit, schedule=schedule), temporal_positions=8, spatial_tokens=tokens
    )
    assert all(stage.kept > 0 for stage in fits)
    with pytest.raises(ValueError, match=f"largest r for this model is {limit}"):
        swin_stages(
            Pruning(r=limit + 1, schedule=schedule), temporal_positions=8, spatial_tokens=tokens
        )
