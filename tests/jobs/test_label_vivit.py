"""ViViT through a whole job: its protocol, its labels under a label map, and its token page."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

import sta
from sta.models.architectures import architecture_config
from sta.models.create import model_from_config
from tests.videos import write_video

pytestmark = pytest.mark.slow

JOBS = Path(__file__).parents[2] / "jobs"
NAMES = ("a", "b", "c", "d", "e")


def job(name, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, str(JOBS / f"{name}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout + done.stderr


def label(folder, label_map):
    """The labeling command's words."""
    model = ("--checkpoint", folder / "k5", "--label-map", folder / label_map)
    return (folder / "videos", folder / "out", *model, "--views", "2x3", "--r", 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Videos, a ViViT of 8 frames of 64 pixels, and the label map of its five classes to three."""
    folder = tmp_path_factory.mktemp("vivit")
    (folder / "videos").mkdir()
    for number in range(3):
        write_video(folder / "videos" / f"{number}.mp4", frames=30 + 10 * number)
    torch.manual_seed(0)
    shape = architecture_config("vivit_base", frames=8, image_size=64)
    model = model_from_config(shape, "vivit_base", num_classes=5)
    with torch.no_grad():
        model.head.weight.normal_()
    sta.save_checkpoint(model, folder / "k5", labels=NAMES, origin="a test", dtype=torch.float16)
    (folder / "map.csv").write_text("class,label\ne,last\na,first\nc,middle\n")
    return folder


@pytest.fixture(scope="module")
def labeled(folder):
    job("label_k400", *label(folder, "map.csv"))
    return folder / "out"


def test_the_run_follows_the_checkpoint_and_the_map(folder, labeled):
    record = json.loads((labeled / "run.json").read_text())
    assert record["identity"]["protocol"]["name"] == "vivit-k400"
    assert record["model"]["architecture"] == "vivit_base"
    assert record["model"]["labels"] == ["first", "last", "middle"]
    assert any("3 of its 5 classes" in note for note in record["model"]["notes"])
    loaded = sta.load_model(folder / "k5", label_map=folder / "map.csv", pruning=sta.Pruning(r=4))
    flops = sta.estimate_flops(loaded.config, pruning=loaded.pruning, num_classes=3)
    assert record["model"]["flops_per_view"] == flops
    for row in pq.read_table(labeled / "videos", partitioning=None).to_pylist():
        assert row["status"] == "ok"
        assert row["label"] in loaded.labels
        assert row["flops"] == 6 * flops
        assert sum(row["top_scores"]) == pytest.approx(1, abs=1e-4)


def test_the_run_is_verified_and_shows_its_tokens(folder, labeled):
    job("verify", labeled)
    job("show_tokens", labeled, "1.mp4", "--out", folder / "page")
    assert list((folder / "page").glob("*.html"))


def test_another_map_is_another_run(folder, labeled):
    (folder / "other.csv").write_text("a,last\ne,first\nc,middle\n")
    assert "labels" in job("label_k400", *label(folder, "other.csv"), code=2)
