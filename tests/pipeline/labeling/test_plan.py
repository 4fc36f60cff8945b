"""Planning a run: the protocol follows the model, the identity what decides a row."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import sta
from pipeline.early_exit import EarlyExitFile
from pipeline.early_exit.budget import Budget
from pipeline.errors import UsageError
from pipeline.execution.failure_limit import FailureLimit
from pipeline.inputs.listing import Listing
from pipeline.labeling import graph_runner
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import plan_labeling
from pipeline.labeling.pruning_flags import PruningFlags
from pipeline.labeling.sweep import SweepOptions
from pipeline.labeling.sweep.plan import plan_sweep
from pipeline.run.identity import EarlyExitTerms
from pipeline.run.run_directory import check_same
from pipeline.run.run_record import RunRecord
from pipeline.storage.location import Location
from tests.early_exit_files import write_early_exit
from tests.videos import write_video
from workers import precisions
from workers.inference.early_exit import EarlyExit
from workers.inference.engine import Engine
from workers.precisions import PRECISIONS


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
    plan = plan_labeling(dataclasses.replace(options, task=task))
    assert plan.protocol.name == f"{family}-{task}"
    assert (plan.protocol.clips, plan.protocol.crops) == views
    assert (plan.protocol.frames, plan.protocol.size) == (16, 112)


@pytest.mark.parametrize(("task", "views"), [("k400", (4, 3)), ("ssv2", (1, 3))])
def test_a_videoswin_has_its_own_protocols(options, tmp_path, task, views):
    torch.manual_seed(0)
    model = sta.create_model("videoswin_tiny", num_classes=3)
    path = tmp_path / "swin.safetensors"
    sta.save_checkpoint(model, path, labels=list("abc"), origin="random")
    plan = plan_labeling(dataclasses.replace(options, task=task, checkpoint=str(path)))
    assert plan.protocol.name == f"videoswin-{task}"
    assert (plan.protocol.clips, plan.protocol.crops) == views
    assert (plan.protocol.frames, plan.protocol.size) == (32, 224)
    assert plan.labeler.pruning.r == 256
    assert plan.model.kept_grids == ((16, 28, 28), (16, 14, 14), (16, 7, 7))


@pytest.mark.parametrize(("frames", "size"), [(16, 64), (64, 96)])
@pytest.mark.parametrize(("task", "views"), [("k400", (8, 3)), ("ssv2", (2, 3))])
def test_a_vjepa2_is_labeled_at_the_size_of_its_checkpoint(
    options, tmp_path, monkeypatch, task, views, frames, size
):
    shape = dataclasses.replace(
        sta.ARCHITECTURES["vjepa2_large"], embed_dim=48, depth=3, num_heads=3
    )
    monkeypatch.setitem(sta.ARCHITECTURES, "vjepa2_toy", shape)
    model = sta.create_model("vjepa2_toy", num_classes=3, frames=frames, image_size=size)
    path = tmp_path / "vjepa2.safetensors"
    sta.save_checkpoint(model, path, labels=list("abc"), origin="random")
    plan = plan_labeling(dataclasses.replace(options, task=task, checkpoint=str(path)))
    assert plan.protocol.name == f"vjepa2-{task}"
    assert (plan.protocol.clips, plan.protocol.crops) == views
    assert (plan.protocol.frames, plan.protocol.size) == (frames, size)
    assert plan.labeler.pruning.r == sta.default_pruning(model.config).r
    left = plan.model.flops_per_view / plan.model.flops_per_view_unpruned
    assert left == pytest.approx(0.5, abs=0.03)


def test_a_named_protocol_overrides_the_models(options):
    plan = plan_labeling(dataclasses.replace(options, protocol="videoswin-k400"))
    assert plan.protocol.name == "videoswin-k400"
    assert plan.protocol.frames == 16


def test_files_beside_the_weights_are_part_of_the_identity(options, tmp_path, random_checkpoint):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    shutil.copy(random_checkpoint, folder / "model.safetensors")
    options = dataclasses.replace(options, checkpoint=str(folder))
    before = plan_labeling(options)
    processor = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    after = plan_labeling(options)
    assert before.identity.model == after.identity.model
    with pytest.raises(UsageError, match="shape.mean"):
        check_same(before.identity, after.identity, "OUTPUT")


def test_a_labeler_refuses_another_shape_than_the_plans(options):
    plan = plan_labeling(options)
    other = dataclasses.replace(plan.labeler.shape, num_heads=3)
    with pytest.raises(ValueError, match="the files beside the weights differ"):
        Engine(dataclasses.replace(plan.labeler, shape=other), plan.protocol, views_per_load=1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"pruning": PruningFlags(r=3)}, "pruning"),
        ({"views": (1, 1)}, "protocol"),
        ({"every_s": 2.0}, "protocol"),
        ({"limit": 1}, "limit"),
        ({"decoder": "decord"}, "decoder"),
    ],
)
def test_what_decides_a_row_is_part_of_the_identity(options, change, named):
    plan = plan_labeling(options)
    plan.run.save(RunRecord(plan.identity, plan.model))
    with pytest.raises(UsageError, match=f"another configuration: {named}[.:]"):
        plan_labeling(dataclasses.replace(options, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"decoders": (2, 2)},
        {"labelers": 2},
        {"batch_size": 3},
        {"compile": False},
        {"retry_failed": True},
        {"max_failed": FailureLimit(0.05)},
    ],
)
def test_what_only_decides_how_a_run_goes_is_not(options, change):
    first = plan_labeling(options)
    first.run.save(RunRecord(first.identity, first.model))
    assert plan_labeling(dataclasses.replace(options, **change)).identity == first.identity


NAMES = ("in", "./in", "in/", "sub/../in", "../{here}/in", "link", "link/", "~/in", "sub/up/in")


@pytest.mark.parametrize("name", [*NAMES, "{all}/in"])
def test_an_input_is_the_same_by_whatever_name_it_is_called(options, tmp_path, monkeypatch, name):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    monkeypatch.setenv("HOME", str(tmp_path))
    first = plan_labeling(options)
    first.run.save(RunRecord(first.identity, first.model))
    monkeypatch.chdir(tmp_path)
    name = name.format(here=tmp_path.name, all=tmp_path)
    assert plan_labeling(dataclasses.replace(options, source=name)).identity == first.identity


def test_an_input_in_object_storage_is_the_same_with_a_slash_at_its_end(options, s3):
    s3.create_bucket(Bucket="videos")
    s3.put_object(Bucket="videos", Key="a/b.mp4", Body=b"no video")
    plans = [
        plan_labeling(dataclasses.replace(options, source=source))
        for source in ("s3://videos/a", "s3://videos/a/")
    ]
    assert plans[0].identity == plans[1].identity
    assert plans[0].identity.input == "s3://videos/a"


def test_another_input_behind_the_same_link_is_another(options, tmp_path):
    (tmp_path / "later").mkdir()
    write_video(tmp_path / "later" / "a.mp4", frames=20)
    link = tmp_path / "latest"
    link.symlink_to(tmp_path / "in")
    asked = dataclasses.replace(options, source=str(link))
    first = plan_labeling(asked)
    first.run.save(RunRecord(first.identity, first.model))
    link.unlink()
    link.symlink_to(tmp_path / "later")
    said = f"configuration: input: {tmp_path}/in in the run, {tmp_path}/later now[.]"
    with pytest.raises(UsageError, match=said):
        plan_labeling(asked)


def test_videos_keep_the_names_by_which_they_were_listed(options, tmp_path):
    """Resolved names are for comparisons; a table's addresses are those that the user knows."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "in")
    (video,) = Listing(str(link)).videos()
    assert (video.video_id, video.uri) == ("a.mp4", f"{link}/a.mp4")
    manifest = tmp_path / "in" / "m.csv"
    manifest.write_text("uri\na.mp4\n")
    (video,) = Listing(f"{link}/m.csv").videos()
    assert video.uri == f"{link}/a.mp4"


def test_a_plan_writes_nothing(options, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    plan_labeling(options)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_secrets_of_an_address_stay_out_of_run_json(options, monkeypatch, random_checkpoint):
    model = sta.load_model(str(random_checkpoint))
    monkeypatch.setattr(sta, "load_model", lambda *a, **k: model)
    address = "https://host/w.safetensors?X-Amz-Credential=AKIDX&X-Amz-Signature=5ec2e7"
    plan = plan_labeling(dataclasses.replace(options, checkpoint=address))
    assert plan.model.checkpoint.startswith("https://host/w.safetensors")
    assert "5ec2e7" not in repr((plan.model, plan.identity))
    assert "AKIDX" not in repr((plan.model, plan.identity))


@pytest.fixture
def early_exit(options, tmp_path):
    return str(
        write_early_exit(
            tmp_path / "p.json", 0.5, source=options.source, checkpoint=options.checkpoint, r=22
        )
    )


def test_early_exit_is_part_of_the_identity_and_gives_the_expected_views(options, early_exit):
    asked = dataclasses.replace(options, pruning=PruningFlags(r=22), early_exit=early_exit)
    plan = plan_labeling(asked)
    assert plan.identity.early_exit == EarlyExitTerms(0.5, None, 0.9, 0.95)
    assert plan.early_exit_file.early_exit == EarlyExit(0.5)
    assert plan.expected_views == 3.0
    without = plan_labeling(dataclasses.replace(asked, early_exit=None))
    assert without.expected_views == without.protocol.views == 15
    assert without.identity == dataclasses.replace(plan.identity, early_exit=None, precision=None)


def test_with_auto_an_early_exit_file_names_the_precision_and_another_one_is_refused(
    options, early_exit
):
    asked = dataclasses.replace(options, pruning=PruningFlags(r=22), early_exit=early_exit)
    fitted = EarlyExitFile.read(Location.of(early_exit)).precision
    assert plan_labeling(asked).identity.precision == fitted
    other = next(each for each in PRECISIONS if each != fitted)
    said = f"precision: {fitted} in the early-exit file, {other} now"
    with pytest.raises(UsageError, match=said):
        plan_labeling(dataclasses.replace(asked, precision=other))


@pytest.mark.parametrize("recorded", PRECISIONS)
def test_a_resumed_run_keeps_its_precision_on_any_machine(options, monkeypatch, recorded):
    first = plan_labeling(options).with_precision(recorded)
    first.run.save(RunRecord(first.identity, first.model))
    for has in (True, False):
        monkeypatch.setattr(precisions, "has_bfloat16", lambda has=has: has)
        assert plan_labeling(options).identity == first.identity
    other = next(each for each in PRECISIONS if each != recorded)
    said = f"another configuration: precision: {recorded} in the run, {other} now"
    with pytest.raises(UsageError, match=said):
        plan_labeling(dataclasses.replace(options, precision=other))


def test_without_a_run_the_precision_is_open_until_the_cluster_is_known(options):
    assert plan_labeling(options).identity.precision is None
    asked = dataclasses.replace(options, precision="float32")
    assert plan_labeling(asked).identity.precision == "float32"


def test_pools_are_planned_before_the_precision_is_chosen(options, monkeypatch):
    cluster = SimpleNamespace(cpus=4, gpus=0, memory=64e9, nodes=1)
    monkeypatch.setattr(graph_runner, "cluster_for", lambda **_: cluster)
    plan = plan_labeling(options)
    assert plan.identity.precision is None
    assert graph_runner.pools_for(options, plan, units=0).labelers >= 1
    sweep = plan_sweep(SweepOptions(options, {"r-0": sta.Pruning(r=0)}))
    assert graph_runner.pools_for(options, sweep, units=0).labelers >= 1


def with_file(options, tmp_path, **file):
    """The options with an early-exit file for them."""
    named = {"source": options.source, "checkpoint": options.checkpoint, "r": 22} | file
    place = write_early_exit(tmp_path / "fast.json", 0.5, **named)
    return dataclasses.replace(options, pruning=PruningFlags(r=22), early_exit=str(place))


def test_fast_decoding_needs_a_file_that_promises_it(options, tmp_path):
    with pytest.raises(UsageError, match=r"--decode fast changes labels.*calibrate.py --decode"):
        plan_labeling(dataclasses.replace(options, decode="fast"))
    asked = with_file(options, tmp_path, decode="exact")
    with pytest.raises(UsageError, match="decode: exact in the early-exit file, fast now"):
        plan_labeling(dataclasses.replace(asked, decode="fast"))


def test_the_decode_mode_is_that_of_the_early_exit_file(options, tmp_path):
    asked = with_file(options, tmp_path, decode="fast")
    plan = plan_labeling(asked)
    assert plan.identity.decode == "fast"
    assert plan.identity.early_exit == EarlyExitTerms(0.5, None, 0.9, 0.95)
    assert plan_labeling(dataclasses.replace(asked, decode="fast")).identity == plan.identity
    with pytest.raises(UsageError, match="decode: fast in the early-exit file, exact now"):
        plan_labeling(dataclasses.replace(asked, decode="exact"))
    with pytest.raises(UsageError, match="decoder: pyav in the early-exit file, decord now"):
        plan_labeling(dataclasses.replace(asked, decoder="decord"))
    assert plan_labeling(options).identity.decode == "exact"


def test_a_file_of_all_views_gives_its_decode_mode_alone(options, tmp_path):
    asked = with_file(options, tmp_path, decode="fast", views=15.0)
    plan = plan_labeling(asked)
    assert (plan.identity.decode, plan.identity.early_exit) == ("fast", None)
    assert (plan.early_exit_file, plan.expected_views) == (None, 15)
    # A budget may ask for fewer views.
    within = plan_labeling(dataclasses.replace(asked, budget=Budget(flops=1e15)))
    assert within.identity.early_exit is not None


def test_an_early_exit_file_may_lie_in_object_storage(options, early_exit, s3):
    s3.create_bucket(Bucket="early-exits")
    s3.put_object(Bucket="early-exits", Key="a/p.json", Body=Path(early_exit).read_bytes())
    there = dataclasses.replace(
        options, pruning=PruningFlags(r=22), early_exit="s3://early-exits/a/p.json"
    )
    assert plan_labeling(there).early_exit_file.threshold == 0.5
    with pytest.raises(UsageError, match="there is no early-exit file s3://early-exits/b.json"):
        plan_labeling(dataclasses.replace(there, early_exit="s3://early-exits/b.json"))


def test_early_exit_may_have_a_shadow_sample_even_without_pruning(options, tmp_path):
    file = write_early_exit(
        tmp_path / "p.json", 0.5, source=options.source, checkpoint=options.checkpoint, r=0
    )
    asked = dataclasses.replace(options, pruning=PruningFlags(r=0), shadow_share=0.5)
    with pytest.raises(UsageError, match="nothing is pruned"):
        plan_labeling(asked)
    plan = plan_labeling(dataclasses.replace(asked, early_exit=str(file)))
    assert plan.identity.shadow_share == 0.5


def test_a_budget_is_bound_to_the_curve_by_which_it_is_decided(options, early_exit):
    within = dataclasses.replace(
        options, pruning=PruningFlags(r=22), early_exit=early_exit, budget=Budget(flops=1e15)
    )
    identity = plan_labeling(within).identity
    larger = dataclasses.replace(within, budget=Budget(flops=1e16))
    assert plan_labeling(larger).identity == identity
    place = Location.of(str(early_exit))
    fitted = EarlyExitFile.read(place)
    curve = tuple(dataclasses.replace(point, views=point.views + 1) for point in fitted.curve)
    dataclasses.replace(fitted, curve=curve).write(place)
    assert plan_labeling(within).identity.early_exit_curve != identity.early_exit_curve
    assert plan_labeling(within).identity.early_exit == identity.early_exit
