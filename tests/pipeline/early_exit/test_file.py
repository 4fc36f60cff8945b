"""The early-exit file: written, read back, and refused where damaged or unfit."""

import dataclasses
import json
import math

import pytest

from pipeline.early_exit import EarlyExitFile, OperatingPoint
from pipeline.errors import UsageError
from pipeline.storage.location import Location
from tests.run_records import run_record
from workers.inference.early_exit import EarlyExit
from workers.sampling import Protocol

EARLY_EXIT = EarlyExitFile(
    model="sha256:a",
    labels="sha256:b",
    pruning={"r": 22, "grouping": "released"},
    protocol=dataclasses.asdict(Protocol("videomae-k400", clips=5, crops=3)),
    precision="bfloat16",
    decoder="pyav",
    decode="fast",
    agreement=0.99,
    confidence=0.95,
    threshold=0.1 + 0.2,
    videos=2000,
    source="/Vidéos",
    curve=(
        OperatingPoint(15.0, 1.0, 0.9985, 15.0, 0.0),
        OperatingPoint(0.1 + 0.2, 0.995, 0.991, 2.5, 1.25),
        OperatingPoint(0.0, 0.95, 0.941, 1.0, 0.0),
    ),
)
BOUND = {
    name: getattr(EARLY_EXIT, name)
    for name in ("model", "labels", "pruning", "protocol", "precision", "decoder", "decode")
}
IDENTITY = run_record({"identity": BOUND | {"input": "/elsewhere"}}).identity
OTHERS = {
    "model": "another",
    "labels": "another",
    "pruning": {"r": 1},
    "protocol": dataclasses.replace(IDENTITY.protocol, clips=2),
    "precision": "float32",
    "decoder": "nvdec",
    "decode": "exact",
}


def test_what_was_written_is_read_to_the_last_digit(tmp_path):
    place = Location.of(str(tmp_path / "new folder" / "early-exit.json"))
    EARLY_EXIT.write(place)
    read = EarlyExitFile.read(place)
    assert read == EARLY_EXIT
    assert read.point == EARLY_EXIT.curve[1]
    assert read.early_exit == EarlyExit(0.1 + 0.2)
    assert read.saves_views


def test_it_lies_in_object_storage_as_well(s3):
    s3.create_bucket(Bucket="early-exits")
    place = Location.of("s3://early-exits/nightly/early-exit.json")
    EARLY_EXIT.write(place)
    assert EarlyExitFile.read(place) == EARLY_EXIT
    with pytest.raises(UsageError, match="no early-exit file s3://early-exits/absent"):
        EarlyExitFile.read(Location.of("s3://early-exits/absent.json"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content | {"version": 1},
        lambda content: content | {"threshold": 7.0},
        lambda content: content | {"curve": [{"threshold": 1.0}]},
        lambda content: content | {"surprise": 1},
        lambda content: [content],
        lambda content: {name: value for name, value in content.items() if name != "model"},
    ],
)
def test_what_is_no_early_exit_file_is_refused(tmp_path, damage):
    file = tmp_path / "early-exit.json"
    EARLY_EXIT.write(Location.of(str(file)))
    file.write_text(json.dumps(damage(json.loads(file.read_text()))))
    with pytest.raises(UsageError, match=r"is not an early-exit file .* jobs/calibrate.py"):
        EarlyExitFile.read(Location.of(str(file)))


def test_a_missing_file_and_one_that_is_no_json_are_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no early-exit file"):
        EarlyExitFile.read(Location.of(str(tmp_path / "absent.json")))
    (tmp_path / "text.json").write_bytes(b"\xff\xfe no json")
    with pytest.raises(UsageError, match="is not an early-exit file"):
        EarlyExitFile.read(Location.of(str(tmp_path / "text.json")))


def test_a_run_of_the_same_model_pruning_and_protocol_may_use_it():
    EARLY_EXIT.check_fits(IDENTITY, "early-exit.json")


@pytest.mark.parametrize("name", OTHERS)
def test_a_run_that_differs_in_what_decides_a_view_may_not(name):
    with pytest.raises(UsageError, match=f"early-exit.json was fitted .*: {name}[.:]"):
        EARLY_EXIT.check_fits(
            dataclasses.replace(IDENTITY, **{name: OTHERS[name]}), "early-exit.json"
        )


def test_a_file_without_the_point_of_its_threshold_has_none():
    with pytest.raises(StopIteration):
        _ = dataclasses.replace(EARLY_EXIT, threshold=math.pi).point
