"""Whatever a decoder's process answers costs its own row alone: the actor lives and decodes on."""

import copy
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workers.decoding import DecodedUnit, DecodeLimits, SandboxedDecoder, Unit, process, replies
from workers.failures import ErrorType, UnitFailure
from workers.sampling import protocol

PROTOCOL = protocol("videomae-k400", size=56, views=(5, 3))
LIMITS = DecodeLimits(seconds=10)
FRAMES, T = 20, PROTOCOL.frames
PIXELS = FRAMES * 56 * 74 * 3

SOUND: dict[str, Any] = {
    "decoded": {
        "shape": [FRAMES, 56, 74, 3],
        "clip_frames": [[row % FRAMES for row in range(T)] for _ in range(5)],
        "clip_times": [[0.0, 0.5]] * 5,
        "frame_count": 20,
        "duration_s": 0.8,
        "lost_frames": 0,
        "first_clip": 0,
        "clips": None,
    },
    "bytes_read": 10,
    "decode_ms": 1.5,
}
FAILURE = {"failure": {"type": "corrupt", "message": "x"}, "bytes_read": 0, "decode_ms": 0}


def changed(*path: str, value: Any = None, without: bool = False) -> dict[str, Any]:
    """The sound answer, or FAILURE, with another value at a place, or without it."""
    message = copy.deepcopy(FAILURE if path[0] == "failure" else SOUND)
    place = message
    for name in path[:-1]:
        place = place[name]
    if without:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return message


def framed(text: str | bytes, *, json_length: int | None = None, data_length: int = 0) -> bytes:
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack(">II", len(data) if json_length is None else json_length, data_length) + data


NO_NUMBER: list[Any] = [None, "1", True, [], {}, -1, 1 << 63, 10**400]
WRONG_VALUES: dict[str, list[Any]] = {
    "shape": [
        None, [], [FRAMES, 56, 74], [FRAMES, 56, 74, 4], [0, 56, 74, 3], [-1, -56, 74, 3],
        [FRAMES, 55, 74, 3], [FRAMES, 56.0, 74, 3], [1 << 40, 56, 74, 3], [True, 56, 74, 3],
    ],
    "clip_frames": [
        None, [], [[0] * T] * 4, [[0] * T] * 20_000, [[0] * (T - 1)] * 5, [[FRAMES] * T] * 5,
        [[-1] * T] * 5, [[0.0] * T] * 5, [["0"] * T] * 5, [None] * 5, [[1 << 70] * T] * 5,
    ],
    "clip_times": [
        None, [], [[0.0, 1.0]] * 4, [[0.0]] * 5, [[1.0, 0.0]] * 5, [[-1.0, 0.0]] * 5,
        [["0", "1"]] * 5, [[0.0, 1e300]] * 5, [None] * 5, [[False, True]] * 5,
    ],
    "frame_count": NO_NUMBER,
    "duration_s": list(NO_NUMBER),
    "lost_frames": NO_NUMBER,
    "first_clip": [*NO_NUMBER, 1],
    "clips": ["0", 5, [], [0, 1, 2, 3], [0, 1, 2, 3, 5], [-1, 0, 1, 2, 3, 4], [4, 3, 2, 1, 0],
              [0, 0, 1, 2, 3, 4], [False, 1, 2, 3, 4], ["0", "1", "2", "3", "4"]],
}  # fmt: skip

MESSAGES: dict[str, Any] = {
    "nothing": {},
    "neither frames nor a failure": {"bytes_read": 0, "decode_ms": 0},
    "another request's answer": {"measured": 3.0, "bytes_read": 0, "decode_ms": 0},
    "frames of a list": changed("decoded", value=[]),
    "a field too many": changed("decoded", "extra", value=1),
    "a failure of another type": changed("failure", value="x"),
    "an unknown reason": changed("failure", "type", value="no such reason"),
    "a reason that only fetching has": changed("failure", "type", value="not_found"),
    "a reason that is no text": changed("failure", "type", value=3),
    "a message that is no text": changed("failure", "message", value={"a": 1}),
    "bytes of a file that it has": {"read": {"offset": 0, "count": 10}},
    "work that is none": {"work": {"frames": "all", "pixels": 1}},
    "work with more pixels than allowed": {"work": {"frames": 1, "pixels": 1 << 40}},
    "negative work": {"work": {"frames": -1, "pixels": 1}},
    "memory of a strange size": {"memory": 1 << 40},
}
VALUES: dict[str, Any] = {
    **{f"{name} {at}": changed("decoded", name, value=value)
       for name, values in WRONG_VALUES.items() for at, value in enumerate(values)},
    **{f"without {name}": changed("decoded", name, without=True) for name in SOUND["decoded"]},
    **{f"costs: {name} {at}": changed(name, value=value)
       for name in ("bytes_read", "decode_ms") for at, value in enumerate(NO_NUMBER)},
}  # fmt: skip
RAW: dict[str, bytes] = {
    "no JSON": framed("nonsense"),
    "no object": framed("[1]"),
    "no text": framed(b"\xff\xfe\xfd"),
    "deep JSON": framed('{"a":' * 50_000 + "1" + "}" * 50_000),
    "a long integer": framed('{"measured": ' + "9" * 5000 + "}"),
    "not a number": framed(json.dumps(changed("decoded", "duration_s", value=float("nan")))),
    "infinity": framed(json.dumps(changed("decoded", "duration_s", value=float("inf")))),
    "infinity by its size": framed('{"decode_ms": 1e999}'),
    "a length beyond the limit": struct.pack(">II", 0xFFFFFFFF, 0),
    "bytes beyond the limit": framed("{}", data_length=0xFFFFFFFF),
    "bytes that nobody asked for": framed(json.dumps(SOUND), data_length=4) + b"abcd",
}
MEMORY = {"no memory": 0, "one byte too little": PIXELS - 1}


@pytest.fixture(scope="module")
def decoder() -> Iterator[SandboxedDecoder]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_MODULE", "tests.attacks.lying_child")
        with SandboxedDecoder(PROTOCOL, limits=LIMITS) as lying:
            yield lying


def answered(
    decoder: SandboxedDecoder, folder: Path, sends: bytes, *, memory: int = PIXELS
) -> DecodedUnit | UnitFailure:
    path = folder / "a.mp4"
    path.write_text(json.dumps({"sends": sends.hex(), "memory": memory}))
    return decoder.decode(Unit("u", "v", str(path)))


def check_crashed(decoder: SandboxedDecoder, folder: Path, sends: bytes, memory: int) -> None:
    before = decoder.child_pid
    result = answered(decoder, folder, sends, memory=memory)
    assert isinstance(result, UnitFailure)
    assert result.error_type is ErrorType.crashed
    assert result.attempts == 2
    assert "impossible answer" in result.message
    assert decoder.child_pid != before
    assert isinstance(answered(decoder, folder, framed(json.dumps(SOUND))), DecodedUnit)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_that_no_sound_child_sends_is_a_crash(
    name: str, decoder: SandboxedDecoder, tmp_path: Path
) -> None:
    check_crashed(decoder, tmp_path, framed(json.dumps(MESSAGES[name])), PIXELS)


def read(message: dict[str, Any]) -> None:
    replies.costs(message)
    replies.decoded(message, Unit("u", "v", "a.mp4"), PROTOCOL, LIMITS)


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_cannot_be_true_is_refused(name: str) -> None:
    read(SOUND)
    with pytest.raises(replies.BadReply):
        read(VALUES[name])


@pytest.mark.parametrize("name", RAW)
def test_bytes_that_are_no_message_are_a_crash(
    name: str, decoder: SandboxedDecoder, tmp_path: Path
) -> None:
    check_crashed(decoder, tmp_path, RAW[name], PIXELS)


@pytest.mark.parametrize("name", MEMORY)
def test_less_memory_than_frames_is_a_crash_and_no_fault_of_the_actor(
    name: str, decoder: SandboxedDecoder, tmp_path: Path
) -> None:
    check_crashed(decoder, tmp_path, framed(json.dumps(SOUND)), MEMORY[name])


def test_much_sparse_memory_is_given_back(decoder: SandboxedDecoder, tmp_path: Path) -> None:
    result = answered(decoder, tmp_path, framed(json.dumps(SOUND)), memory=6 << 30)
    assert isinstance(result, DecodedUnit)
    assert result.frames.nbytes == PIXELS


def test_a_message_that_never_ends_is_a_timeout(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_MODULE", "tests.attacks.lying_child")
        with SandboxedDecoder(PROTOCOL, limits=DecodeLimits(seconds=0.5)) as decoder:
            result = answered(decoder, tmp_path, framed("{", json_length=100))
            assert isinstance(result, UnitFailure)
            assert result.error_type is ErrorType.timeout


def test_progress_without_end_is_a_timeout(tmp_path: Path) -> None:
    progress = framed(json.dumps({"work": {"frames": None, "pixels": 1}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_MODULE", "tests.attacks.lying_child")
        with SandboxedDecoder(PROTOCOL, limits=DecodeLimits(seconds=0.5)) as decoder:
            result = answered(decoder, tmp_path, progress * 100)
            assert isinstance(result, UnitFailure)
            assert result.error_type is ErrorType.timeout


def test_text_of_a_failure_is_one_printable_line(decoder: SandboxedDecoder, tmp_path: Path) -> None:
    message = changed("failure", "message", value="\x1b[2J\nred" + "x" * 100_000)
    result = answered(decoder, tmp_path, framed(json.dumps(message)))
    assert isinstance(result, UnitFailure)
    assert result.message.isprintable()
    assert len(result.message) <= 300


@pytest.mark.parametrize("measured", [*NO_NUMBER, 1e300])
def test_an_impossible_duration_is_refused(measured: Any) -> None:
    assert replies.measured({"measured": 3}) == 3.0
    with pytest.raises(replies.BadReply):
        replies.measured({"measured": measured})
