"""What decoding a part of a long recording costs, compared with the whole.

    python -m tests.scale.long_recording --hours 2

Makes an H.264 recording of 640x360, decodes it whole, and decodes its segments, from disk
and from the tests' S3 server; then the five clips of a whole video, from an MP4 and from files
without an index. Prints CPU time, bytes read and the decoder's memory at its peak.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import av

from tests.object_storage import object_storage
from tests.recordings import lengthened
from tests.videos import write_video
from workers.decoding import DecodedUnit, Measured, SandboxedDecoder, Unit
from workers.sampling import protocol

_SECONDS = 60
_RATE = 30
_PROTOCOL = protocol("videomae-k400", every_s=2.0)


def main() -> None:
    """Prints a line per way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=2.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        minute = write_video(
            folder / "minute.mp4", frames=_SECONDS * _RATE, height=360, width=640, rate=_RATE
        )
        times = round(arguments.hours * 60)
        path = lengthened(minute, folder / "long.mp4", times=times)
        size = path.stat().st_size
        whole = _whole_s(path)
        print(f"whole file            {1000 * whole:9.0f} ms CPU  {size / 1e6:8.1f} MB")
        middle = arguments.hours * 1800 // _PROTOCOL.unit_s
        _units(str(path), "disk", middle, whole)
        with object_storage(folder) as server:
            os.environ.update(server.environment)
            client = server.client()
            client.create_bucket(Bucket="recordings")
            client.upload_file(str(path), "recordings", "long.mp4")
            _units("s3://recordings/long.mp4", server.kind, middle, whole)
        _clips(path, whole)
        for suffix in (".ts", ".flv"):
            _clips(lengthened(minute, folder / f"long{suffix}", times=times), whole)


def _clips(path: Path, whole_s: float) -> None:
    with SandboxedDecoder(protocol("videomae-k400")) as decoder:
        decoded = decoder.decode(Unit("clips", "long", str(path)))
        assert isinstance(decoded, DecodedUnit), decoded
        _line(f"5 clips of {path.suffix}", decoded, whole_s)


def _whole_s(path: Path) -> float:
    """CPU seconds of a plain decode on one thread."""
    began = time.process_time()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for _ in container.decode(stream):
            pass
    return time.process_time() - began


def _units(uri: str, where: str, middle: float, whole_s: float) -> None:
    with SandboxedDecoder(_PROTOCOL) as decoder:
        measured = decoder.measure(Unit("m", "long", uri))
        assert isinstance(measured, Measured), measured
        _line(f"measured, {where}", measured, whole_s)
        for place in ("middle", "next"):
            start_s = (middle + (place == "next")) * _PROTOCOL.unit_s
            unit = Unit(place, "long", uri, start_s, start_s + _PROTOCOL.unit_s)
            decoded = decoder.decode(unit)
            assert isinstance(decoded, DecodedUnit), decoded
            _line(f"{place} unit, {where}", decoded, whole_s)
        status = Path(f"/proc/{decoder.child_pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        print(f"decoder's memory      {peak:9.0f} MiB at most")


def _line(what: str, cost: Measured | DecodedUnit, whole_s: float) -> None:
    share = cost.decode_ms / whole_s / 1000
    print(f"{what:<21} {cost.decode_ms:9.0f} ms CPU  {cost.bytes_read / 1e6:8.1f} MB  {share:.2%}")


if __name__ == "__main__":
    main()
