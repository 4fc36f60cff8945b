"""Preparing a run: the protocol follows the model, the identity what decides a row."""

import dataclasses

import pytest
import torch

import sta
from pipeline.errors import UsageError
from pipeline.label_run import LabelOptions, prepare
from tests.videos import write_video


@pytest.fixture
def options(tmp_path, random_checkpoint):
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "a.mp4", frames=20)
    return LabelOptions(
        task="k400",
        source=str(tmp_path / "in"),
        output=str(tmp_path / "out"),
        checkpoint=str(random_checkpoint),
    )


@pytest.mark.parametrize(
    ("task", "family", "views"),
    [("k400", "videomae", (5, 3)), ("ssv2", "videomae", (2, 3))],
)
def test_the_protocol_is_the_tasks_for_this_kind_of_model(options, task, family, views):
    prepared = prepare(dataclasses.replace(options, task=task))
    assert prepared.protocol.name == f"{family}-{task}"
    assert (prepared.protocol.clips, prepared.protocol.crops) == views
    assert (prepared.protocol.frames, prepared.protocol.size) == (16, 112)


@pytest.mark.parametrize(("task", "views"), [("k400", (4, 3)), ("ssv2", (1, 3))])
def test_a_videoswin_has_its_own_protocols(options, tmp_path, task, views):
    torch.manual_seed(0)
    model = sta.create_model("videoswin_tiny", num_classes=3)
    path = tmp_path / "swin.safetensors"
    sta.save_checkpoint(model, path, labels=list("abc"), origin="random")
    prepared = prepare(dataclasses.replace(options, task=task, checkpoint=str(path)))
    assert prepared.protocol.name == f"videoswin-{task}"
    assert (prepared.protocol.clips, prepared.protocol.crops) == views
    assert (prepared.protocol.frames, prepared.protocol.size) == (32, 224)
    assert prepared.labeller.pruning.r == 256
    assert prepared.content["model"]["kept_grids"] == [[16, 784], [16, 196], [16, 49]]


def test_a_named_protocol_overrides_the_models(options):
    prepared = prepare(dataclasses.replace(options, protocol="videoswin-k400"))
    assert prepared.protocol.name == "videoswin-k400"
    assert prepared.protocol.frames == 16


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"r": 3}, "pruning"),
        ({"views": (1, 1)}, "protocol"),
        ({"limit": 1}, "limit"),
        ({"decoder": "decord"}, "decoder"),
    ],
)
def test_what_decides_a_row_is_part_of_the_identity(options, change, named):
    prepare(options)
    with pytest.raises(UsageError, match=f"another configuration: {named} is"):
        prepare(dataclasses.replace(options, **change))


@pytest.mark.parametrize("change", [{"decoders": (2, 2)}, {"labelers": 2}, {"batch_size": 3}])
def test_what_only_decides_speed_is_not(options, change):
    first = prepare(options)
    assert prepare(dataclasses.replace(options, **change)).content == first.content
