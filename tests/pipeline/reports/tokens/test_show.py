"""From the tables of a run and its videos to the view that the model was given, and its labels."""

import dataclasses
import re
import shutil
from contextlib import closing

import numpy as np
import pytest

import sta
from pipeline.errors import UsageError
from pipeline.inputs.video import Video
from pipeline.reports.tokens.decoding import ViewDecoder, view_tokens
from pipeline.reports.tokens.lookup import RunFacts, find, middle_crop
from pipeline.reports.tokens.predictions import (
    from_model,
    from_run,
    from_shadow,
    pruned_prediction,
    unpruned_run,
)
from pipeline.reports.tokens.show import ShowOptions, show, summary
from tests.pipeline.token_runs import LABELS, SWIN, VIT, dice, make_run, normalized_clip
from tests.videos import resize, sequential_frames, write_video
from workers.sampling import Protocol, protocol

DENSE = protocol("videomae-k400", size=112, frames=16, views=(2, 1), every_s=1.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """150 frames, 5 seconds, wider than high."""
    return write_video(tmp_path_factory.mktemp("videos") / "a.mp4", frames=150)


@pytest.fixture(scope="module")
def broken(source):
    path = source.with_name("broken.mp4")
    path.write_text("no video")
    return path


@pytest.fixture(scope="module")
def vit(source, broken, random_checkpoint, tmp_path_factory):
    """A pruned run by a real model over a video and a broken one."""
    videos = [Video("a", str(source), ground_truth="b"), Video("broken", str(broken))]
    recipe = dataclasses.replace(VIT, checkpoint=random_checkpoint)
    return make_run(tmp_path_factory.mktemp("vit"), videos, recipe)


@pytest.fixture(scope="module")
def unpruned(source, random_checkpoint, tmp_path_factory):
    recipe = dataclasses.replace(VIT, checkpoint=random_checkpoint, pruning=sta.Pruning())
    return make_run(tmp_path_factory.mktemp("unpruned"), [Video("a", str(source))], recipe)


@pytest.fixture(scope="module")
def swin(source, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("swin"), [Video("a", str(source))], SWIN)


@pytest.fixture(scope="module")
def segmented(source, random_checkpoint, tmp_path_factory):
    """Units of two clips, a clip a second."""
    recipe = dataclasses.replace(VIT, protocol=DENSE, checkpoint=random_checkpoint)
    video = Video("a", str(source), duration_s=5.0)
    return make_run(tmp_path_factory.mktemp("segmented"), [video], recipe)


def seen(run, video="a", **place):
    facts = RunFacts.of(run)
    found = find(facts, video, **place)
    with closing(ViewDecoder(facts)) as decoder:
        decoded = decoder.decode(found)
    return found, decoded, view_tokens(found, decoded)


@pytest.mark.parametrize("clip", [0, 1])
@pytest.mark.parametrize(("crop", "left"), [(0, 0), (1, 18), (2, 37)])
def test_the_frames_are_those_that_the_protocol_takes(vit, source, clip, crop, left):
    _, _, shown = seen(vit, clip=clip, crop=crop)
    whole = sequential_frames(source)
    start = (0, 22)[clip]  # of every fourth frame, of which there are 38
    for place, frame in enumerate(shown.frames):
        expected = resize(whole[4 * (start + place)], 112, 149)[:, left : left + 112]
        assert np.abs(frame.astype(int) - expected).max() <= 2
    assert (shown.clip, shown.crop) == (clip, crop)
    assert shown.start_s == pytest.approx(4 * start / 30)
    assert shown.end_s == pytest.approx(4 * (start + 15) / 30)


def test_the_maps_are_what_the_model_says_of_those_frames(vit, random_checkpoint):
    _, _, shown = seen(vit, clip=1, crop=2)
    model = sta.load_model(random_checkpoint, pruning=VIT.pruning)
    kept = model(normalized_clip(shown.frames)).kept
    for stage, mask in zip(shown.stages, kept, strict=True):
        agreeing = (stage.kept.reshape(8, 49) == mask[0].numpy()).mean()
        assert agreeing > 0.99  # batches of another size round otherwise


def test_maps_of_swin_lie_on_grids_that_grow_coarser(swin):
    _, _, shown = seen(swin, clip=1, crop=1)
    assert [stage.kept.shape for stage in shown.stages] == [
        (16, 28, 28),
        (16, 14, 14),
        (16, 7, 7),
    ]
    assert [stage.cell for stage in shown.stages] == [8, 16, 32]
    for stage, mask in zip(shown.stages, dice(SWIN, 1, 1), strict=True):
        assert np.array_equal(stage.kept.reshape(mask.shape), mask)


def test_a_clip_of_dense_labeling_is_found_by_its_number(segmented, source):
    found, _, shown = seen(segmented, clip=3)
    assert found.unit["start_s"] == 2.0
    whole = sequential_frames(source)
    for place, frame in enumerate(shown.frames):
        index = min(90 + 4 * place, 149)
        assert np.abs(frame.astype(int) - resize(whole[index], 112, 149)[:, 18:130]).max() <= 2


def test_the_first_clip_and_the_middle_crop_are_shown_unless_told_otherwise(vit, swin):
    assert [seen(run)[2].clip for run in (vit, swin)] == [0, 0]
    assert [seen(run)[2].crop for run in (vit, swin)] == [1, 2]
    assert middle_crop(Protocol("videomae-k400", clips=1, crops=1, size=112)) == 0


@pytest.mark.parametrize(
    ("video", "place", "said"),
    [
        ("x", {}, "has no video 'x'; it has a, broken"),
        ("broken", {}, "broken has no labels: it failed as not_video"),
        ("a", {"clip": 2}, "a has no clip 2; it has 0 to 1"),
        ("a", {"crop": -1}, "a has no crop -1; it has 0 to 2"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(vit, video, place, said, tmp_path):
    with pytest.raises(UsageError) as error:
        show(ShowOptions(vit.root.uri, video, folder=tmp_path / "out", **place))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("replace", "said"),
    [
        (lambda path: path.unlink(), "can no longer be read: not_found"),
        (lambda path: path.write_text("no video"), "can no longer be read: not_video"),
        (lambda path: write_video(path, frames=149), "frame count is 149 and was 150"),
        (
            lambda path: write_video(path, frames=150, options={"crf": "40"}),
            "changed since it was labeled: its bytes read",
        ),
    ],
)
def test_another_video_than_the_one_that_was_labeled_is_not_shown(source, tmp_path, replace, said):
    copy = shutil.copy(source, tmp_path / "copy.mp4")
    run = make_run(tmp_path / "run", [Video("a", str(copy))], VIT)
    replace(copy)
    with pytest.raises(UsageError, match="a .*copy.mp4") as error:
        seen(run)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_an_object_is_shown_while_it_is_the_one_that_was_labeled(s3, source, tmp_path):
    s3.create_bucket(Bucket="shown-tokens")
    s3.upload_file(str(source), "shown-tokens", "a.mp4")
    run = make_run(tmp_path, [Video("a", "s3://shown-tokens/a.mp4")], VIT)
    assert seen(run)[2].frames.shape == (16, 112, 112, 3)
    s3.put_object(Bucket="shown-tokens", Key="a.mp4", Body=source.read_bytes() + b"!")
    with pytest.raises(UsageError, match="changed since it was labeled"):
        seen(run)


def test_the_label_without_pruning_is_the_same_from_the_model_and_from_another_run(
    vit, unpruned, capsys
):
    found, decoded, _ = seen(vit, clip=1)
    modeled = from_model(found, decoded)
    assert re.match(r"Evaluating \d+ views? again with ", capsys.readouterr().err)
    read = from_run(found, unpruned_run(found.facts, unpruned.root.uri))
    assert "run now" in modeled.source
    assert unpruned.root.uri in read.source
    for one, two in zip(
        (modeled.prediction.view, modeled.prediction.video),
        (read.prediction.view, read.prediction.video),
        strict=True,
    ):
        assert [name for name, _ in one] == [name for name, _ in two]
        assert [score for _, score in one] == pytest.approx([score for _, score in two], abs=1e-4)


def test_pruning_is_what_the_two_labels_differ_by(vit):
    found, decoded, _ = seen(vit)
    scores = [
        dict(from_model(found, decoded).prediction.video),
        dict(pruned_prediction(found).video),
    ]
    assert scores[0] != pytest.approx(scores[1], abs=1e-3)


def test_a_clip_of_dense_labeling_is_predicted_by_itself(segmented):
    found, decoded, _ = seen(segmented, clip=3)
    predictions = [pruned_prediction(found), from_model(found, decoded).prediction]
    assert [prediction.video for prediction in predictions] == [None, None]
    assert [len(prediction.view) for prediction in predictions] == [5, 5]
    assert predictions[0].label == found.view["label"]


def test_what_the_shadow_sample_says_comes_first(source, tmp_path):
    def shadowed(rows):
        rows[0] |= {"unpruned_label": "d", "unpruned_label_id": 3, "unpruned_score": 0.7}
        rows[0] |= {"unpruned_top_ids": [3, 0], "unpruned_top_scores": [0.75, 0.25]}
        for view in rows[0]["views"]:
            view["unpruned_label_id"] = 4

    run = make_run(tmp_path, [Video("a", str(source))], dataclasses.replace(VIT, change=shadowed))
    prediction = from_shadow(find(RunFacts.of(run), "a")).prediction
    assert prediction.video == (("d", 0.75), ("a", 0.25))
    assert prediction.view == (("e", None),)
    shown = show(ShowOptions(run.root.uri, "a", folder=tmp_path / "out"))
    assert "shadow sample" in shown.unpruned.source
    assert shown.unpruned.prediction.label == "d"


def test_outside_of_the_shadow_sample_it_says_nothing(vit):
    assert from_shadow(find(RunFacts.of(vit), "a")) is None


def test_a_model_that_cannot_be_had_is_said_on_the_page(swin, tmp_path):
    shown = show(ShowOptions(swin.root.uri, "a", folder=tmp_path))
    assert shown.unpruned.prediction is None
    assert "no such checkpoint could not be loaded" in shown.unpruned.source
    assert "could not be loaded" in shown.page.read_text()


def test_other_weights_than_those_of_the_run_are_not_run(vit, tmp_path, source):
    model = sta.create_model("vit_demo", num_classes=6)
    other = tmp_path / "other.safetensors"
    sta.save_checkpoint(model, other, labels=LABELS, origin="others")
    found, decoded, _ = seen(vit)
    record = found.facts.record
    model = dataclasses.replace(record.model, checkpoint=str(other))
    facts = dataclasses.replace(found.facts, record=dataclasses.replace(record, model=model))
    said = from_model(dataclasses.replace(found, facts=facts), decoded)
    assert said.prediction is None
    assert "the weights were replaced" in said.source


def test_no_model_is_run_where_none_is_wanted(vit, tmp_path):
    shown = show(ShowOptions(vit.root.uri, "a", use_model=False, folder=tmp_path))
    assert shown.unpruned.prediction is None
    assert "--no-model was given" in shown.unpruned.source


def test_an_unpruned_run_that_does_not_fit_is_refused(
    vit, swin, unpruned, segmented, tmp_path, source
):
    facts = RunFacts.of(vit)
    with pytest.raises(UsageError, match=r"is pruned \(r = 256\)"):
        unpruned_run(facts, swin.root.uri)
    with pytest.raises(UsageError, match="protocol.crops: 3 there, 1 here"):
        unpruned_run(RunFacts.of(segmented), unpruned.root.uri)
    with pytest.raises(UsageError, match="another model"):
        unpruned_run(RunFacts.of(swin), unpruned.root.uri)
    with pytest.raises(UsageError, match="holds no run"):
        unpruned_run(facts, str(tmp_path))


def test_of_an_unpruned_run_the_frames_are_shown(unpruned, tmp_path):
    shown = show(ShowOptions(unpruned.root.uri, "a", folder=tmp_path))
    assert (shown.view.stages, shown.unpruned) == ((), None)
    assert "This run was not pruned: no token was dropped" in shown.page.read_text()
    assert "no token was dropped" in summary(shown)
    assert all(file.stat().st_size for file in (shown.sheet, shown.animation))


def test_files_are_named_by_video_clip_and_crop_in_one_folder(source, tmp_path):
    run = make_run(tmp_path / "run", [Video("x/../ä b?.mp4", str(source))], VIT)
    options = ShowOptions(
        run.root.uri, "x/../ä b?.mp4", clip=1, use_model=False, folder=tmp_path / "out"
    )
    shown = show(options)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        f"x-..-ä-b-.mp4-clip-1-crop-1.{ending}" for ending in ("html", "png", "webp")
    ]
    assert shown.page.parent == tmp_path / "out"
