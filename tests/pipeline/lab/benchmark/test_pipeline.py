"""The pipeline's benchmark: both ways give the same, and what is counted is what was used."""

import json
import os
import subprocess
import sys
import time

import pyarrow as pa
import pytest

from pipeline.lab.benchmark.core_seconds import cpu_recorded, idle_s, process_cpu_s
from pipeline.lab.benchmark.paired import OutputsDiffer
from pipeline.lab.benchmark.pipeline import PipelineBenchmark, _check_same
from tests.videos import write_video

pytestmark = pytest.mark.slow

_RUN = """
import sys
from pathlib import Path
from pipeline.lab.benchmark.report import save
from pipeline.lab.benchmark.pipeline import PipelineBenchmark, run_pipeline
options = PipelineBenchmark(source=sys.argv[1], passes=3, checkpoint=sys.argv[2], views=(2, 1),
                            rounds=1)
report = run_pipeline(options)
print(report.text())
save(report, Path(sys.argv[3]))
"""


@pytest.mark.drill
def test_both_ways_are_compared_and_the_report_says_under_what_conditions(
    tmp_path, random_checkpoint
):
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(2):
        write_video(folder / f"{number}.mp4", frames=20)
    (folder / "broken.mp4").write_text("no video")
    command = [sys.executable, "-c", _RUN, folder, random_checkpoint, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert "9 units of 2 views" in done.stdout
    saved = json.loads((tmp_path / "out" / "pipeline.json").read_text())
    plain, graph = saved["rows"]
    assert (plain["way"], graph["way"]) == ("plain loop", "through Ray")
    assert plain["ratio"]["median"] == 1.0
    assert graph["held"]["median"] >= graph["cpu"]["median"] > 0
    assert saved["conditions"]["units"] == 9


def row(unit, **changes):
    view = {"clip": 0, "device_ms": 1.0, "score": 0.5}
    return {
        "unit_id": unit,
        "decode_ms": 1.0,
        "labeled_at": None,
        "device_ms": 1.0,
        "label": "a",
        "views": [view],
    } | changes


def test_times_may_differ_and_nothing_else():
    plain = pa.Table.from_pylist([row("a"), row("b")])
    later = [{"clip": 0, "device_ms": 9.0, "score": 0.5}]
    _check_same(plain, pa.Table.from_pylist([row("b", decode_ms=7.0), row("a", views=later)]))
    for other in (
        [row("a"), row("b", label="c")],
        [row("a"), row("b", views=[{"clip": 0, "device_ms": 1.0, "score": 0.25}])],
        [row("a")],
        [row("a"), row("b"), row("b")],
    ):
        with pytest.raises(OutputsDiffer):
            _check_same(plain, pa.Table.from_pylist(other))


def test_cpu_time_of_children_counts_and_stays_when_they_end():
    busy = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    with cpu_recorded() as record:
        began = time.time()
        # It lives on for a while, so that a sample sees all of its work.
        subprocess.run([sys.executable, "-c", f"{busy}\ntime.sleep(2.5)"], check=True)
        ended = time.time()
    used, idle, own = record.between(began, ended)
    assert used >= 0.5 + own
    assert idle >= 0.0


def test_the_clock_of_a_process_is_that_of_the_process():
    before = time.process_time()
    now = process_cpu_s(os.getpid())
    assert before <= now <= time.process_time()
    assert idle_s() > 0


@pytest.mark.parametrize("name", ["videos", "passes", "rounds"])
def test_nothing_is_measured_of_nothing(name):
    with pytest.raises(ValueError, match=f"{name} must be 1 or more"):
        PipelineBenchmark(**{name: 0})
