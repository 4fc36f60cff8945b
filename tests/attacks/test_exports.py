"""Names and labels of strangers in exports: whole in data, and no markup of a page or document."""

import csv
import dataclasses
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from pipeline.export.export import FORMATS, export
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from sta.text import displayed
from tests.pipeline.export.test_export import READERS
from tests.pipeline.synthetic_runs import LABELS, Made, unit, write_run

NAMES = (
    *("quo\"te's, and | commas.mp4", "two\r\nlines.mp4", "</script><b>.mp4", "' OR '1'='1.mp4"),
    *("=cmd|' /C calc'!A0.mp4", "\x1b[2J\u202e\u2028.mp4", "---\nlicense: mit.mp4", "../../up.mp4"),
)
CLASSES = ["<\"&'>", "a\x01\x1bb", *LABELS[2:]]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "out"
    rows = [unit(name, Made(), second=1) for name in NAMES]
    for number, row in enumerate(rows):
        row["label_id"] = number % 2
        row["label"] = CLASSES[row["label_id"]]
    write_run(folder, rows, Made())
    run = RunDirectory(Location.of(str(folder)))
    record = run.load()
    model = dataclasses.replace(record.model, labels=tuple(CLASSES))
    identity = dataclasses.replace(record.identity, input="s3://b/---\n# forged")
    run.save(dataclasses.replace(record, model=model, identity=identity))
    return run


def names(found):
    return sorted(row["video_id"] for row in found)


def test_data_holds_the_exact_names(run, tmp_path):
    for to in FORMATS:
        export(run, to, str(tmp_path / to))
    with open(tmp_path / "csv" / "videos.csv", newline="") as file:
        assert names(csv.DictReader(file)) == sorted(NAMES)
    for to, read in READERS.items():
        assert names(read(tmp_path / to, "videos")[0]) == sorted(NAMES)
    found = json.loads((tmp_path / "activitynet" / "activitynet.json").read_text())["results"]
    assert sorted(found) == sorted(NAMES)
    assert {each["label"] for (each,) in found.values()} == set(CLASSES[:2])
    found = json.loads((tmp_path / "label-studio" / "tasks.json").read_text())
    assert names(task["data"] for task in found) == sorted(NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FORMATS)


def test_a_labeling_configuration_is_xml_with_the_labels_of_the_tasks(run, tmp_path):
    export(run, "label-studio", str(tmp_path))
    config = ElementTree.parse(tmp_path / "labeling_config.xml").getroot()
    shown = [each.get("value") for each in config.iter("Choice")]
    assert shown == [displayed(label) for label in CLASSES]
    for task in json.loads((tmp_path / "tasks.json").read_text()):
        (result,) = task["predictions"][0]["result"]
        assert result["value"]["choices"][0] in shown


def test_a_card_has_one_header_and_no_heading_of_others(run, tmp_path):
    export(run, "huggingface", str(tmp_path))
    _, header, body = Path(tmp_path, "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(header)["configs"][0]["config_name"] == "videos"
    assert [line for line in body.splitlines() if line.startswith("# ")] == ["# Video labels"]


@pytest.mark.parametrize("to", READERS)
def test_a_run_id_is_no_condition(to, run, tmp_path):
    export(run, to, str(tmp_path))
    record = run.load()
    hostile = "x' OR '1' = '1"
    run.mark.write_bytes(hostile.encode())
    run.save(dataclasses.replace(record, run_id=hostile))
    try:
        export(run, to, str(tmp_path), append=True)
        assert len(READERS[to](tmp_path, "videos")[0]) == 2 * len(NAMES)
    finally:
        run.mark.delete()
        run.save(record)
