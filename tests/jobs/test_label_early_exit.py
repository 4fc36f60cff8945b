"""Runs with early exit, as users of the job see them."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sta
from pipeline.inputs.demo.archive import ArchiveSettings, make_archive
from tests.early_exit_files import write_early_exit
from workers.decode_actor import DecodeActor
from workers.inference.early_exit import EarlyExit
from workers.inference.labeler import LabelerConfig
from workers.inference.unpruned_sample import Shadow
from workers.label_actor import LabelActor
from workers.sampling import Protocol

pytestmark = pytest.mark.slow

JOBS = Path(__file__).parents[2] / "jobs"
THRESHOLD = 0.7
TIMES = ("labeled_at", "decode_ms", "device_ms", "unpruned_device_ms", "attempts")
# What depends on which clips were decoded when.
DECODING = ("bytes_read", "decoded_clips")


def run(*arguments, job="label_k400"):
    command = [sys.executable, str(JOBS / f"{job}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("early_exit") / "in"
    make_archive(folder, ArchiveSettings(videos=14))
    (folder / "broken.mp4").write_text("no video")
    for other in folder.iterdir():
        if other.suffix != ".mp4":
            other.unlink()
    return folder


@pytest.fixture(scope="module")
def early_exit(archive):
    return write_early_exit(
        archive.parent / "early-exit.json",
        THRESHOLD,
        source=archive,
        checkpoint="demo",
        agreement=0.8,
    )


@pytest.fixture(scope="module")
def label(archive, early_exit):
    def labeled(output, *flags):
        done = run(archive, output, "--checkpoint", "demo", "--early-exit", early_exit,
                   "--batch-size", "4", "--shadow-share", "50%", *flags)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done

    return labeled


@pytest.fixture(scope="module")
def output(archive):
    return archive.parent / "out"


@pytest.fixture(scope="module")
def labeled(label, output):
    return label(output)


def rows(output):
    """Rows of units/ without the times that no two runs share."""
    place = Path(output)
    place = place if place.is_file() else place / "units"
    read = pq.read_table(place, partitioning=None).to_pylist()
    for row in read:
        for part in (row, *(row["views"] or ())):
            for name in TIMES:
                part.pop(name, None)
    return {row["video_id"]: row for row in read}


def test_evaluation_stops_at_the_first_view_that_meets_the_threshold(labeled, output):
    early_exit, counts = EarlyExit(THRESHOLD), set()
    for name, row in rows(output).items():
        if name == "broken.mp4":
            assert (row["status"], row["margins"], row["views"]) == ("failed", None, None)
            continue
        should_stop = [
            early_exit.should_stop(margin, seen=seen, views=15)
            for seen, margin in enumerate(row["margins"], 1)
        ]
        assert should_stop == [False] * (len(row["views"]) - 1) + [True]
        counts.add(len(row["views"]))
    assert len(counts) > 1
    assert run(output, job="verify").returncode == 0


def test_rows_are_those_of_a_run_that_decodes_all_clips(labeled, output):
    record = json.loads((output / "run.json").read_text())
    views = Protocol(**record["identity"]["protocol"])
    config = LabelerConfig(
        "demo",
        batch_size=4,
        threads=record["attempts"][-1]["labeler_cpus"],
        precision=record["identity"]["precision"],
    )
    unpruned = dataclasses.replace(config, pruning=sta.Pruning(r=0))
    config = dataclasses.replace(config, pruning=sta.Pruning(**record["identity"]["pruning"]))
    manifest = pq.read_table(output / "manifest", partitioning=None)
    decoded = pa.concat_tables(DecodeActor(views)(manifest))
    settings = {"shadow": Shadow(0.5, unpruned), "early_exit": EarlyExit(THRESHOLD)}
    pq.write_table(LabelActor(config, views, **settings)(decoded), output.parent / "whole.parquet")
    found, expected = rows(output), rows(output.parent / "whole.parquet")
    counts = {found[name]["decoded_clips"] for name in found}
    assert {1, None} < counts, "some videos need further clips"
    for row in (*found.values(), *expected.values()):
        for name in DECODING:
            row.pop(name)
    assert found == expected
    stage = record["totals"]["stages"]["decode"]
    assert stage["units"] == len(found)


def test_the_summary_says_what_was_saved(labeled, output):
    content = json.loads((output / "run.json").read_text())
    totals, model = content["totals"], content["model"]
    assert content["identity"]["early_exit"] == {
        "threshold": THRESHOLD, "max_views": None, "agreement": 0.8, "confidence": 0.95,
    }  # fmt: skip
    assert totals["flops"] == totals["clips"] * model["flops_per_view"]
    assert totals["clips"] < 14 * 15
    said = " ".join(labeled.stdout.split())
    mean = f"{totals['clips'] / 14:.3g}"
    assert f" Views: {mean} of 15 per video on average, " in said
    assert f"{100 * totals['clips'] / (14 * 15):.1f} % of those of all views" in said
    assert "; guaranteed: the label of all views for 80 % of videos " in said
    assert "have the same label with all views and without pruning" in said


def test_the_shadow_sample_is_labeled_by_all_views(labeled, output):
    content = json.loads((output / "run.json").read_text())
    totals, model = content["totals"], content["model"]
    assert 0 < totals["unpruned_units"] < 14
    every = 15 * totals["unpruned_units"]
    assert totals["unpruned_flops"] == every * model["flops_per_view_unpruned"]
    assert totals["unpruned_views"] < every


def test_the_report_shows_how_many_views_were_evaluated(labeled, output):
    views = json.loads((output / "report.json").read_text())["early_exit"]
    found = [len(row["views"]) for row in rows(output).values() if row["views"]]
    assert views["counts"] == [found.count(number) for number in range(1, 16)]
    assert views["mean"] == pytest.approx(sum(found) / 14)
    assert "Evaluated views" in (output / "report.html").read_text()


def test_slots_count_all_rows_of_the_forward_passes(labeled, output):
    stage = json.loads((output / "run.json").read_text())["totals"]["stages"]["label"]
    assert stage["views"] == sum(len(row["views"] or ()) for row in rows(output).values())
    assert stage["slots"] % 4 == 0
    assert stage["slots"] > stage["views"]


@pytest.mark.drill
def test_a_broken_run_is_repaired_to_the_same_rows(labeled, label, output, tmp_path):
    """Half of the commits are gone; who shares a batch with whom is then another matter."""
    broken = tmp_path / "out"
    shutil.copytree(output, broken)
    for checkpoint in sorted((broken / "_checkpoint").glob("*.parquet"))[::2]:
        (file,) = (broken / "units").glob(f"{checkpoint.stem}-*.parquet")
        file.unlink()
        checkpoint.unlink()
    (broken / "_SUCCESS").unlink()
    label(broken, "--labelers", "2")
    assert rows(broken) == rows(output)
    assert run(broken, job="verify").returncode == 0


def test_units_that_were_tampered_with_are_refused_by_verify(labeled, output, tmp_path):
    broken = tmp_path / "out"
    shutil.copytree(output, broken)
    file = next(iter((broken / "units").glob("*.parquet")))
    table = pq.read_table(file, partitioning=None)
    changed = table.to_pylist()
    for row in changed:
        row["margins"] = row["margins"] and [0.0] * len(row["margins"])
    pq.write_table(table.from_pylist(changed, schema=table.schema), file)
    checked = run(broken, job="verify")
    assert checked.returncode == 1
    assert "FAIL  views: evaluated in order" in checked.stdout


def test_a_view_that_was_not_evaluated_cannot_be_shown(labeled, output, tmp_path):
    name, row = next(
        (name, row) for name, row in rows(output).items() if len(row["views"] or ()) == 1
    )
    (evaluated,) = row["views"]
    skipped = (evaluated["clip"] + 1) % 5
    shown = run(output, name, "--clip", skipped, "--out", tmp_path, job="show_tokens")
    assert shown.returncode == 2
    assert f"{name} was not evaluated in clip {skipped}" in shown.stderr
    assert f"clip/crop evaluated: {evaluated['clip']}/{evaluated['crop']}" in shown.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--clip-every", "1s"], "with --clip-every each clip has a label of its own"),
        (
            ["--r", "8"],
            "was fitted for another labeling: pruning.r: 22 in the early-exit file, 8 now",
        ),
        (["--views", "2x3"], "protocol.clips: 5 in the early-exit file, 2 now"),
    ],
)
def test_an_early_exit_file_of_another_labeling_is_refused_in_one_line(
    archive, early_exit, tmp_path, flags, said
):
    command = [archive, tmp_path / "out", "--checkpoint", "demo", "--early-exit", early_exit]
    refused = run(*command, *flags)
    assert refused.returncode == 2
    assert said in refused.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_run_is_not_resumed_with_another_early_exit_file(labeled, archive, output, tmp_path):
    other = write_early_exit(tmp_path / "other.json", 2.0, source=archive, checkpoint="demo")
    refused = run(
        archive, output, "--checkpoint", "demo", "--early-exit", other, "--shadow-share", "50%"
    )
    assert refused.returncode == 2
    assert "early_exit.threshold: 0.7 in the run, 2.0 now" in refused.stderr
    without = run(archive, output, "--checkpoint", "demo", "--shadow-share", "50%")
    assert "early_exit: threshold" in without.stderr
