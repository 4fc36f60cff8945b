"""Every file of the corpus of real and damaged videos comes to what it should, and to nothing else.

Truth is a plain decode from start to end, and for the number of frames also ffmpeg's own command.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.inputs.manifest import MANIFEST_SCHEMA
from tests import videos
from tests.corpus import CORPUS, DECORD, DEGRADED, expected, files, frames_by_ffmpeg, needs_corpus
from tests.processes import decoders, descriptors, eventually, opened_since
from workers.decode_actor import DecodeActor
from workers.decoding import DecodedUnit, DecodeLimits, SandboxedDecoder, Unit
from workers.failures import UnitFailure
from workers.sampling import protocol

pytestmark = [pytest.mark.slow, needs_corpus]

PROTOCOL = protocol("videomae-k400")
LIMITS = DecodeLimits(seconds=30)


@dataclass(frozen=True)
class Outcome:
    """``kind``: "ok", "degraded" or an error type; ``frames``: "" where they are right."""

    kind: str
    lost: int = 0
    count: int = 0
    attempts: int = 1
    frames: str = ""
    message: str = ""


def outcome(result: DecodedUnit | UnitFailure, reference: list[videos.Pixels]) -> Outcome:
    if isinstance(result, UnitFailure):
        return Outcome(result.error_type, attempts=result.attempts, message=result.message)
    return Outcome(
        "degraded" if result.lost_frames else "ok",
        result.lost_frames,
        result.frame_count,
        result.attempts,
        difference(result, reference),
    )


def difference(result: DecodedUnit, reference: list[videos.Pixels]) -> str:
    """ "" where every wanted frame equals its true one bit for bit, else what differs."""
    clips = PROTOCOL.clip_indices(len(reference))
    height, width = PROTOCOL.resized(*reference[0].shape[:2])
    assert result.clip_frames.shape == clips.shape
    assert result.frames.shape[1:] == (height, width, 3)
    pairs = sorted(
        set(zip(clips.ravel().tolist(), result.clip_frames.ravel().tolist(), strict=True))
    )
    differing = [
        (true, row)
        for true, row in pairs
        if not np.array_equal(result.frames[row], videos.resize(reference[true], height, width))
    ]
    if not differing:
        return ""
    near = {i: videos.resize(frame, height, width) for i, frame in enumerate(reference)}
    for true, row in differing[:: max(1, len(differing) // 8)]:
        distances = {i: distance(result.frames[row], frame) for i, frame in near.items()}
        if min(distances, key=distances.__getitem__) != true:
            return "other frames"
    return "other pixels"


def distance(one: videos.Pixels, other: videos.Pixels) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())


@pytest.fixture(scope="module", params=["hostile", "real"])
def surveyed(request: pytest.FixtureRequest) -> dict[str, tuple[Outcome, Outcome]]:
    """(what the default decoder makes of it, what decord does) of every file of one folder."""
    pytest.importorskip("decord")
    found = {}
    with (
        SandboxedDecoder(PROTOCOL, limits=LIMITS) as default,
        SandboxedDecoder(PROTOCOL, decoder="decord", limits=LIMITS) as decord,
    ):
        for name in files(request.param):
            unit = Unit("unit", name, str(CORPUS / name))
            results = default.decode(unit), decord.decode(unit)
            decoded = any(isinstance(result, DecodedUnit) for result in results)
            reference = videos.sequential_frames(CORPUS / name) if decoded else []
            found[name] = outcome(results[0], reference), outcome(results[1], reference)
    assert len(found) > 60
    return found


def test_every_file_is_labeled_or_refused_for_the_right_reason(
    surveyed: dict[str, tuple[Outcome, Outcome]],
) -> None:
    kinds = {name: outcome.kind for name, (outcome, _) in surveyed.items()}
    assert kinds == {name: expected(name) for name in surveyed}


def test_what_damage_cost_is_counted(surveyed: dict[str, tuple[Outcome, Outcome]]) -> None:
    for name, (result, _) in surveyed.items():
        if name in DEGRADED:
            fewest, most = DEGRADED[name]
            assert fewest <= result.lost <= most, name


def test_frames_equal_a_sequential_decode_bit_for_bit(
    surveyed: dict[str, tuple[Outcome, Outcome]],
) -> None:
    differing = {name: found.frames for name, (found, _) in surveyed.items() if found.frames}
    assert differing == {}


def test_there_are_as_many_frames_as_ffmpegs_command_decodes(
    surveyed: dict[str, tuple[Outcome, Outcome]],
) -> None:
    counts = {name: found.count for name, (found, _) in surveyed.items() if found.count}
    by_ffmpeg = frames_by_ffmpeg()
    assert len(counts) > 40
    assert counts == {name: by_ffmpeg[name] for name in counts}


def test_one_try_is_enough_and_messages_are_one_line_without_paths(
    surveyed: dict[str, tuple[Outcome, Outcome]],
) -> None:
    for name, (found, _) in surveyed.items():
        assert found.attempts == 1, name
        assert "\n" not in found.message
        assert str(CORPUS) not in found.message
        assert bool(found.message) == (name not in DEGRADED and found.kind != "ok")


def test_decord_differs_on_these_files_and_on_no_other(
    surveyed: dict[str, tuple[Outcome, Outcome]],
) -> None:
    found = {}
    for name, (default, decord) in surveyed.items():
        if decord.attempts == 2:
            assert decord.frames == "", name
            found[name] = "recovered"
        elif decord.kind != default.kind:
            found[name] = decord.kind
        elif decord.frames:
            found[name] = decord.frames
        else:
            assert decord.count == default.count, name
    assert found == {name: how for name, how in DECORD.items() if name in surveyed}


def shared_memory() -> set[str]:
    """But for semaphores, which tests beside this one make; decoders have none."""
    return {name for name in os.listdir("/dev/shm") if not name.startswith("sem.")}


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_the_hostile_files_leave_no_process_no_descriptor_and_no_temporary_file(
    decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    names = files("hostile")
    rows = [{"unit_id": n, "video_id": n, "uri": str(CORPUS / n)} for n in names]
    before, shared = descriptors(), shared_memory()
    actor = DecodeActor(PROTOCOL, decoder, LIMITS)
    assert len(decoders()) == 1

    decoded = [
        (table.num_rows, table["unit_id"][0].as_py(), table["error_type"][0].as_py())
        for table in actor(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA))
    ]
    assert [(count, name) for count, name, _ in decoded] == [(1, name) for name in names]
    if decoder == "pyav":
        reasons = {name: reason for _, name, reason in decoded if reason}
        assert reasons == {name: expected(name) for name in reasons}
    assert len(decoders()) == 1

    del actor
    assert decoders() == []
    assert opened_since(before) == []
    assert eventually(lambda: shared_memory() <= shared)  # tests beside this one make some and end
    assert list(tmp_path.iterdir()) == []
