"""Sweep through the whole machinery: real videos, one decode, several prunings, and kills."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import sta
from pipeline.errors import UsageError
from pipeline.inputs.manifest import unit_id
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import plan_labeling
from pipeline.labeling.sweep import SweepOptions, read_sweep, run_sweep
from pipeline.planner.from_run import finished_run
from pipeline.reports.run import write_run_report
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from pipeline.verify.verify import verify
from tests.processes import wait_while_running
from tests.videos import write_video
from workers.sweep_schema import SWEEP_SCHEMA

VARIANTS = {"sta": sta.Pruning(r=20), "dense": sta.Pruning()}
VIDEOS = 10

_SCRIPT = """
import sys, sta
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.sweep import SweepOptions, run_sweep
labeling = LabelOptions("k400", *sys.argv[1:4], views=(2, 3), batch_size=4)
run_sweep(SweepOptions(labeling, {"sta": sta.Pruning(r=20), "dense": sta.Pruning()}))
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    lines = ["uri,video_id,label"]
    for number in range(VIDEOS):
        write_video(folder / f"{number}.mp4", frames=20 + 8 * number)
        lines.append(f"{number}.mp4,video {number},{'abc'[number % 3]}")
    (folder / "text.mp4").write_text("no video")
    lines.append("text.mp4,broken,")
    (folder / "manifest.csv").write_text("\n".join(lines))
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def asked(archive, random_checkpoint):
    def options(output, *, variants=VARIANTS, sample=None, **changed):
        settings = {"views": (2, 3), "batch_size": 4, **changed}
        places = (str(archive), str(output), str(random_checkpoint))
        return SweepOptions(LabelOptions("k400", *places, **settings), variants, sample)

    return options


@pytest.fixture(scope="module")
def run(asked, tmp_path_factory):
    return run_sweep(asked(tmp_path_factory.mktemp("runs") / "sweep"))


def rows(run):
    """What was found, by video; times and the order of files are a run's own."""
    found = {}
    for row in pq.read_table(run.units.uri, partitioning=None).to_pylist():
        sweep = [
            {name: value for name, value in trial.items() if name != "device_ms"}
            for trial in row["sweep"] or ()
        ]
        assert row["video_id"] not in found
        found[row["video_id"]] = (row["ground_truth"], row["error_type"], sweep)
    return found


@pytest.mark.slow
def test_a_sweep_has_one_row_per_video_with_all_variants(run):
    content = run.load().to_json()
    assert run.success.exists()
    assert pq.read_schema(run.units.files(".parquet")[0].uri).equals(SWEEP_SCHEMA)
    assert len(rows(run)) == VIDEOS + 1
    assert content["identity"]["variants"]["dense"] == {"r": 0}
    assert content["identity"]["variants"]["sta"]["r"] == 20
    assert content["model"]["flops"]["sta"] < content["model"]["flops"]["dense"]
    assert content["totals"]["unit_failures"] == {"not_video": 1}
    assert (content["totals"]["units"], content["totals"]["ok"]) == (VIDEOS + 1, VIDEOS)


@pytest.mark.slow
def test_a_sweep_is_read_as_arrays_and_failed_videos_are_counted(run):
    expected = rows(run)
    seen, failed = [], 0
    for chunk in read_sweep(run):
        failed += chunk.failed
        for place, video in enumerate(chunk.video_ids):
            ground_truth, _, sweep = expected[video]
            seen.append(video)
            assert chunk.unit_ids[place] == unit_id(video)
            assert chunk.ground_truths[place] == ground_truth
            for trial in sweep:
                name = trial["variant"]
                said = chunk.probabilities[name][place]
                assert said.shape == (6, 6)
                assert said.reshape(-1).tolist() == trial["probabilities"]
                assert said.mean(0).argmax() == trial["label_id"]
                assert chunk.flops[name][place] == trial["flops"]
                assert chunk.device_ms[name][place] > 0
    assert sorted(seen) == sorted(f"video {number}" for number in range(VIDEOS))
    assert failed == 1


@pytest.mark.slow
def test_the_same_sweep_again_returns_the_finished_run(run, asked):
    before = run.run_json.read_bytes()
    assert run_sweep(asked(run.root.uri)).root == run.root
    assert run.run_json.read_bytes() == before


@pytest.mark.slow
def test_other_variants_need_another_place(run, asked):
    with pytest.raises(UsageError, match="configuration: variants.dense: .*; 1 more of variants"):
        run_sweep(asked(run.root.uri, variants={"sta": sta.Pruning(r=21)}))


@pytest.mark.slow
def test_labeling_into_the_folder_of_a_sweep_is_refused(run, archive, random_checkpoint):
    options = LabelOptions("k400", str(archive), run.root.uri, str(random_checkpoint))
    with pytest.raises(UsageError, match="another configuration"):
        plan_labeling(options)


@pytest.mark.parametrize("reader", [verify, finished_run, write_run_report])
@pytest.mark.slow
def test_readers_of_labels_refuse_a_sweep(run, reader):
    with pytest.raises(UsageError, match="holds a sweep, which has no labels"):
        reader(run)


@pytest.mark.drill
def test_a_killed_sweep_is_resumed_to_the_same_rows(
    run, archive, random_checkpoint, asked, tmp_path
):
    output = tmp_path / "killed"
    driver = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, str(archive), str(output), str(random_checkpoint)],
        cwd=Path(__file__).parents[3], stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    wait_while_running(driver, lambda: len(list(output.glob("_checkpoint/*[!g].parquet"))) >= 2)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    assert not (output / "_SUCCESS").exists()
    with pytest.raises(UsageError, match="not finished"):
        read_sweep(RunDirectory(Location.of(str(output))))
    assert rows(run_sweep(asked(output))) == rows(run)


@pytest.mark.drill
def test_a_sample_is_those_of_the_smallest_hashes(asked, run, tmp_path):
    few = run_sweep(asked(tmp_path / "few", sample=3))
    names = [f"video {number}" for number in range(VIDEOS)] + ["broken"]
    chosen = sorted(names, key=unit_id)[:3]
    everything = rows(run)
    assert rows(few) == {name: everything[name] for name in chosen}


def test_a_variant_that_the_model_cannot_do_is_named(asked, tmp_path):
    too_much = {"fine": sta.Pruning(r=5), "hungry": sta.Pruning(r=40)}
    with pytest.raises(UsageError, match="hungry: r = 40 is too large"):
        run_sweep(asked(tmp_path / "out", variants=too_much))
    assert not (tmp_path / "out").exists()


def test_nothing_to_try_and_an_empty_sample_are_refused(asked, tmp_path):
    with pytest.raises(UsageError, match="a sweep has no pruning; name at least one"):
        asked(tmp_path, variants={})
    with pytest.raises(UsageError, match="sample must be of 1 video or more; got 0"):
        asked(tmp_path, sample=0)


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no sweep in"):
        read_sweep(RunDirectory(Location.of(str(tmp_path))))


@pytest.mark.slow
def test_probabilities_of_a_view_add_up_to_one(run):
    for chunk in read_sweep(run):
        for said in chunk.probabilities.values():
            np.testing.assert_allclose(said.sum(-1), 1, rtol=1e-5)
