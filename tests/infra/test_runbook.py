"""The runbook: it names what there is, knows every alert, and its table of files is the graph's."""

import re

import pytest
import yaml

from pipeline.execution.graph import GraphConfig
from pipeline.execution.pools import plan_pools
from pipeline.labeling.flags import parser
from tests.infra.manifests import ROOT
from tests.scale.many_gpus import Inputs, fewest_drivers, night, table
from workers.decoding import DecodeLimits
from workers.inference.labeler import LabelerConfig
from workers.sampling import protocol

TEXT = (ROOT / "infra" / "README.md").read_text()
RUNS = {
    100_000: "100,000",
    1_000_000: "1 million",
    5_000_000: "5 million",
    10_000_000: "10 million",
    100_000_000: "100 million",
}


def row(title):
    rows = [line for line in TEXT.splitlines() if line.startswith(f"| {title}")]
    (cells,) = (row for row in map(_cells, rows) if len(row) == 1 + len(RUNS))
    return cells[1:]


def _cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def rows_per_file(units):
    config = GraphConfig(
        protocol=protocol("videomae-k400", size=224),
        decoder="pyav",
        limits=DecodeLimits(),
        labeler=LabelerConfig(checkpoint="demo"),
        pools=plan_pools(cpus=182, gpus=16, decoders=(146, 146), labelers=16),
        units=units,
    )
    # A file is closed by the block that reaches its least number of rows.
    return -(-config.commit_rows // config.grain.label_rows) * config.grain.label_rows


def test_commits_and_files_of_a_run_are_those_of_the_graph():
    assert row("videos in one run") == list(RUNS.values())
    assert row("units per commit") == [f"{rows_per_file(units):,}" for units in RUNS]
    files = [-(-units // rows_per_file(units)) for units in RUNS]
    assert row("files in `units/`") == [f"{count:,}" for count in files]


def test_the_head_s_memory_follows_from_its_inputs():
    gib = [0.6 + units * 1.1 * 1024 / 2**30 for units in RUNS]
    said = [float(cell.removesuffix(" GiB")) for cell in row("head's memory")]
    assert said == pytest.approx(gib, rel=0.05)


@pytest.mark.slow
def test_the_table_of_many_gpus_is_what_the_simulation_says_now():
    assert table(Inputs()) in TEXT


def test_the_inputs_of_the_simulation_are_those_of_the_page():
    inputs = {
        "speed of a GPU": f"{Inputs().gpu_tflops:g} TFLOP/s",
        "listing": f"{Inputs().listed_per_s:,.0f} objects",
        "one driver": f": {Inputs().rows_per_s:g} videos a second",
        "files of `units/`": f"{Inputs().commits_per_s:g} a second",
        "decoding a video": f"to {Inputs().decode_s:g} (720p",
    }
    for row, value in inputs.items():
        lines = [line for line in TEXT.splitlines() if line.startswith(f"| {row} |")]
        assert [line for line in lines if value in line], row


def test_drivers_are_the_fewest_that_keep_up():
    inputs = Inputs(rows_per_s=40.0, most_videos=20_000)
    drivers = fewest_drivers(inputs, 8)
    assert drivers == 2
    assert night(inputs, 8, drivers - 1).bottleneck == "driver"
    assert night(inputs, 8, drivers).bottleneck == "GPUs"


def test_every_alert_is_in_the_table_of_what_to_do():
    rules = yaml.safe_load((ROOT / "infra/monitoring/alerts.yml").read_text())["groups"][0]["rules"]
    for rule in rules:
        assert f"alert `{rule['alert']}`" in TEXT


def test_every_path_and_program_that_it_names_exists():
    paths = re.findall(r"(?:infra|jobs|tests)/[\w./-]*\w", TEXT)
    assert len(paths) > 10
    for path in paths:
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m (tests\.[\w.]+)", TEXT):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module


def test_every_flag_of_the_labeling_jobs_that_it_names_exists():
    known = parser("k400").format_help()
    for flag in (
        "--max-cpus",
        "--max-gpus",
        "--labelers",
        "--decoders",
        "--fetch-timeout",
        "--decode-timeout",
    ):
        assert f"`{flag}" in TEXT
        assert flag in known
