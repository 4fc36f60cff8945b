"""The pruning of a model where none is given: by name, and by the shape of a checkpoint."""

import pytest

import sta


@pytest.mark.parametrize("name", ["vit_base", "vit_demo", "videoswin_base", "videoswin_base_ssv2"])
def test_a_shape_of_the_paper_has_the_papers_r(name):
    assert sta.default_pruning(sta.architecture_config(name)) == sta.default_pruning(name)


@pytest.mark.parametrize(
    ("name", "size"),
    [("vit_large", {"frames": 32}), ("vit_base", {"image_size": 160}), ("vit_demo", {"frames": 8})],
)
def test_other_clips_than_the_papers_are_pruned_by_the_same_share(name, size):
    def left(shape):
        pruned = sta.estimate_flops(shape, pruning=sta.default_pruning(shape))
        return pruned / sta.estimate_flops(shape)

    shape = sta.architecture_config(name, **size)
    assert left(shape) == pytest.approx(left(sta.architecture_config(name)), abs=0.03)
    assert sta.default_pruning(shape).r != sta.default_pruning(name).r


def test_a_number_of_frames_that_only_one_grouping_takes_has_a_default_with_it():
    shape = sta.architecture_config("vit_base", frames=12)
    assert sta.default_pruning(shape, grouping="paper").grouping == "paper"
    with pytest.raises(ValueError, match="divisible by 4"):
        sta.default_pruning(shape)
