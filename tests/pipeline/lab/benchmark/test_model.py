"""The `model` part of the benchmark: what is compared is equal, and the table says what it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import sta
from pipeline.lab.benchmark.frame_by_frame import FrameByFrame
from pipeline.lab.benchmark.model import ModelBenchmark, moving_clips, run_model
from pipeline.lab.benchmark.paired import OutputsDiffer
from pipeline.lab.benchmark.timing import matmul_rate, nominal_rate
from pipeline.lab.benchmark.transformers_model import TransformersVideoMAE
from pipeline.lab.benchmark.variants import TimingSetup, check, variants

JOB = Path(__file__).parents[4] / "jobs" / "benchmark.py"
CPU = TimingSetup(device="cpu", dtype=torch.float32, modes=("eager",), batch=1)


def demo(r=0, **switches):
    torch.manual_seed(0)
    return sta.create_model("vit_demo", num_classes=9, pruning=sta.Pruning(r=r, **switches))


def clips(batch=2):
    return moving_clips(batch, (3, 16, 112, 112))


@pytest.mark.parametrize("grouping", ["released", "paper"])
@pytest.mark.parametrize("direction", ["FBF", "BFB"])
@torch.inference_mode()
def test_frame_by_frame_keeps_the_same_tokens_in_the_same_order(grouping, direction):
    model = demo(r=22, grouping=grouping, direction=direction).double()
    slow = FrameByFrame.like(model)
    x = clips().double()
    for ours, theirs in zip(model.tokens(x), slow.tokens(x), strict=True):
        if isinstance(ours, tuple):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
        else:
            torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-10)
    assert torch.equal(model.tokens(x)[1], slow.tokens(x)[1])


def test_frame_by_frame_refuses_switches_that_it_does_not_have():
    with pytest.raises(ValueError, match="score='sta' and first_frame='tome' alone"):
        FrameByFrame.like(demo(r=22, score="random"))


@torch.inference_mode()
def test_transformers_model_has_our_weights():
    pytest.importorskip("transformers")
    model = demo()
    for parameter in model.parameters():
        parameter.normal_(std=0.05)
    theirs = TransformersVideoMAE(model)
    x = clips()
    torch.testing.assert_close(theirs(x), model(x).logits, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_a_variant_that_answers_otherwise_is_found_before_anything_is_timed():
    made = variants(demo(), {22: demo(r=22)}, CPU)
    assert {share for share in check(made, clips(1)).values() if share is not None} == {1.0}
    wrong = next(v for v in made if v.name == "frame by frame")
    for parameter in wrong.run.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    with pytest.raises(OutputsDiffer, match=r"frame by frame \(eager, r = 22\)"):
        check(made, clips(1))


def test_the_table_has_every_variant_with_its_flops_and_its_share():
    options = ModelBenchmark(
        architectures=("vit_demo",), r=(8, 22), batches=(1,), device="cpu", rounds=2, threads=1
    )
    report = run_model(options, say=lambda line: None)
    rows = {(row["variant"], row["r"]): row for row in report.rows}
    assert {r for _, r in rows} == {0, 8, 22}
    unfused = {("dense, un-fused", 0), ("frame by frame, un-fused", 8)}
    assert unfused | {("dense", 0), ("pruned", 8), ("frame by frame", 8)} <= rows.keys()
    assert rows["pruned", 8]["over_unfused"].median > 0
    assert rows["dense", 0]["over_unfused"].median > 0
    dense, pruned = rows["dense", 0], rows["pruned", 22]
    assert dense["speedup"].median == dense["flops_ratio"] == 1.0
    want = sta.estimate_flops("vit_demo") / sta.estimate_flops(
        "vit_demo", pruning=sta.Pruning(r=22)
    )
    assert pruned["flops_ratio"] == want
    assert pruned["reached"] == pruned["speedup"].median / want
    assert 0 < pruned["scoring"].median < 1
    assert 0 < pruned["matmul_share"] < 2
    assert pruned["same_tokens"] == 1.0
    assert report.conditions["threads"] == 1
    assert "vit_demo" in report.text()


def test_methods_at_a_share_of_the_flops_are_timed_with_the_weights_of_the_dense_model():
    options = ModelBenchmark(
        architectures=("vit_demo",),
        methods=("sta@50%", "tome@50%"),
        batches=(1,),
        device="cpu",
        rounds=1,
        threads=1,
    )
    report = run_model(options, say=lambda line: None)
    rows = {row["variant"]: row for row in report.rows}
    for name in options.methods:
        assert rows[name]["flops_ratio"] == pytest.approx(2.0, abs=0.06)
        assert rows[name]["r"] is None
        assert rows[name]["clips_per_s"].median > 0
    assert "tome@50%" in report.text()


def test_a_videoswin_is_compared_with_itself_and_has_no_one_graph_in_its_exact_form():
    swin = (
        sta.create_model("videoswin_tiny"),
        {256: sta.create_model("videoswin_tiny", pruning=sta.Pruning(r=256))},
    )
    compiled = TimingSetup(device="cpu", dtype=torch.float32, modes=("eager", "compile"), batch=1)
    keys = [variant.key for variant in variants(*swin, compiled)]
    assert keys == [("dense", "eager", 0), ("dense", "compile", 0), ("pruned", "eager", 256)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"architectures": ("resnet",)}, "there are .*vit_base.*; got 'resnet'"),
        ({"modes": ("fast",)}, "there are eager, compile, graphs; got 'fast'"),
        ({"modes": ("graphs",)}, "needs a CUDA device"),
        ({"dtype": "float16"}, "there are float32, bfloat16"),
        ({"rounds": 0}, "1 or more"),
        ({"methods": ("merge@50%",)}, "there is no method 'merge'"),
        ({"r": (0,)}, "r = 0 is always timed"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_what_can(wrong, said):
    with pytest.raises(ValueError, match=said):
        ModelBenchmark(device="cpu", **wrong)


def test_the_peak_is_measured_and_on_unknown_devices_nobody_names_one():
    assert matmul_rate("cpu", torch.float32) > 1e8
    assert nominal_rate("cpu", torch.float32) is None


# As on a machine that has torch and nothing to do with videos.
WITHOUT_RAY = """
import runpy, sys
sys.modules |= {"ray": None, "av": None, "boto3": None}
sys.argv = sys.argv[1:]
sys.path.insert(0, str(__import__("pathlib").Path(sys.argv[0]).parents[1]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_the_command_writes_a_table_json_and_a_plot_without_ray(tmp_path):
    command = [sys.executable, "-c", WITHOUT_RAY, str(JOB), "model", "--arch", "vit_demo"]
    command += ["--batch", "1", "--rounds", "1", "--threads", "1", "--device", "cpu"]
    command += ["--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "speed-up" in done.stdout
    content = json.loads((tmp_path / "model.json").read_text())
    assert content["conditions"]["dtype"] == "float32"
    refused = subprocess.run([*command, "--r", "99"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("error: r = 99 is too large")
