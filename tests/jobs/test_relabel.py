"""Embeddings, heads and relabeling as users of the jobs see them, on real files."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pytest

import pipeline
import sta
from pipeline.embeddings.features import feature_spec
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from sta.heads import LinearHead, head_bytes
from tests.videos import write_video

pytestmark = pytest.mark.slow

JOBS = Path(__file__).parents[2] / "jobs"
# What the same labels may cost differently.
_COSTS = {"attempts", "decode_ms", "bytes_read", "flops", "device_ms", "labeled_at"}


def job(name, *arguments):
    command = [sys.executable, str(JOBS / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, random_checkpoint):
    """Five videos and a broken one, labeled with --embeddings."""
    made = tmp_path_factory.mktemp("embeddings")
    (made / "in").mkdir()
    for number in range(5):
        write_video(made / "in" / f"{number}.mp4", frames=20 + 10 * number)
    (made / "in" / "broken.mp4").write_text("no video")
    settings = ("--checkpoint", random_checkpoint, "--views", "2x3", "--video-embeddings")
    ended = job("label_k400.py", made / "in", made / "out", *settings)
    assert ended.returncode == 0, ended.stderr
    return made


@pytest.fixture(scope="module")
def head(folder, random_checkpoint):
    """The file of a head with two classes of the model's own."""
    model = sta.load_model(random_checkpoint)
    record = RunDirectory(Location.of(str(folder / "out"))).load()
    made = LinearHead(
        weight=model.head.weight.detach().numpy()[[3, 1]].copy(),
        bias=model.head.bias.detach().numpy()[[3, 1]].copy(),
        labels=("falls", "stands"),
        features=feature_spec(record),
    )
    (folder / "head.safetensors").write_bytes(head_bytes(made))
    return folder / "head.safetensors"


@pytest.fixture(scope="module")
def relabeled(folder, head):
    ended = job(
        *("relabel.py", folder / "out", folder / "new", "--head", head),
        *("--shadow-share", "100%"),
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


_ORDER = {
    "units": ["unit_id"],
    "clips": ["unit_id", "clip", "crop"],
    "videos": ["video_id"],
}


def rows(run, table):
    found = ds.dataset(str(run / table)).to_table()
    return found.sort_by([(name, "ascending") for name in _ORDER[table]])


def test_every_view_of_every_labeled_video_has_an_embedding(folder):
    batches = list(pipeline.read_embeddings(folder / "out"))
    assert sum(len(batch) for batch in batches) == 5 * 6
    assert {batch.vectors.shape[1] for batch in batches} == {192}


@pytest.mark.parametrize("table", ["units", "clips"])
def test_relabeling_gives_each_bit_of_labeling_with_the_same_head_in_one_pass(
    folder, head, relabeled, random_checkpoint, table
):
    one_pass = folder / "one-pass"
    if not one_pass.exists():
        settings = ("--checkpoint", random_checkpoint, "--views", "2x3", "--head", head)
        ended = job("label_k400.py", folder / "in", one_pass, *settings)
        assert ended.returncode == 0, ended.stderr
    ours, theirs = rows(folder / "new", table), rows(one_pass, table)
    skipped = _COSTS | {"views"}
    names = [name for name in ours.schema.names if name not in skipped]
    assert ours.select(names).equals(theirs.select(names))


def test_the_summary_says_what_it_saved_and_how_far_labels_agree(relabeled):
    assert "5 relabeled" in relabeled
    assert "1 without a label, as before" in relabeled
    assert "times as many" in relabeled
    assert "Agreement: 100.0 % (" in relabeled


def test_the_new_run_verifies_and_has_a_report(folder, relabeled):
    ended = job("verify.py", folder / "new")
    assert ended.returncode == 0, ended.stdout
    assert "Verified: all checks passed." in ended.stdout
    assert (folder / "new" / "report.html").exists()


def test_the_agreement_is_kept_as_data(folder, relabeled):
    said = json.loads((folder / "new" / "shadow_agreement.json").read_text())
    assert said["same"]["value"] == 1.0
    assert said["same"]["count"] == 5


def test_costs_are_compared_though_the_classes_differ(folder, relabeled, tmp_path):
    ended = job("cost_report.py", folder / "out", folder / "new", "--out", tmp_path / "cost")
    assert ended.returncode == 0, ended.stderr
    assert "other classes" in " ".join(ended.stdout.split())


def test_a_head_of_another_model_is_refused_in_one_line(folder, head):
    settings = ("--checkpoint", "demo", "--head", head)
    ended = job("label_k400.py", folder / "in", folder / "no", *settings)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: the head was trained on features of vit_demo")
    assert not (folder / "no").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name what labels: --head FILE"),
        (("--head", "nowhere.safetensors"), "there is no head"),
        (("--head", __file__), "no safetensors file"),
        (("--checkpoint", "demo"), "train a head on its embeddings"),
    ],
)
def test_mistakes_are_told_in_one_line_before_any_work(folder, tmp_path, words, said):
    ended = job("relabel.py", folder / "out", tmp_path / "new", *words)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert not (tmp_path / "new").exists()


def test_the_head_of_a_checkpoint_with_the_same_backbone_relabels(
    folder, random_checkpoint, tmp_path
):
    ended = job("relabel.py", folder / "out", tmp_path / "new", "--checkpoint", random_checkpoint)
    assert ended.returncode == 0, ended.stderr
    ours, theirs = rows(tmp_path / "new", "videos"), rows(folder / "out", "videos")
    assert ours["label"].to_pylist() == theirs["label"].to_pylist()
