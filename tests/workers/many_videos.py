"""Sends many videos through one decode actor and prints what memory it held on the way, as JSON.

``python -m tests.workers.many_videos FOLDER COUNT --per-child N``: the files of FOLDER in turn,
COUNT times in all. A process of its own, so that no other test's memory is in the figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from pathlib import Path

import pyarrow as pa

from pipeline.inputs.manifest import MANIFEST_SCHEMA
from tests.processes import private_bytes
from workers.decode_actor import DecodeActor
from workers.decoding import DecodeLimits
from workers.sampling import protocol

ROWS = 20


def run(folder: Path, count: int, per_child: int, decoder: str) -> dict[str, object]:
    """Bytes of the actor's process and of its child after every ROWS videos, and all outcomes."""
    names = itertools.cycle(sorted(os.listdir(folder)))
    actor = DecodeActor(
        protocol("videomae-k400", size=112), decoder, DecodeLimits(videos_per_child=per_child)
    )
    outcomes: dict[str, int] = {}
    memory: list[tuple[int, int]] = []
    children = set()
    for _ in range(0, count, ROWS):
        rows = [
            {"unit_id": name, "video_id": name, "uri": str(folder / name)}
            for name in itertools.islice(names, ROWS)
        ]
        for table in actor(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)):
            kind = table["error_type"][0].as_py() or "ok"
            outcomes[kind] = outcomes.get(kind, 0) + table.num_rows
        del table
        child = actor._decoder.child_pid
        assert child is not None
        children.add(child)
        memory.append((private_bytes(os.getpid()), private_bytes(child)))
    return {"memory": memory, "outcomes": outcomes, "children": len(children)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--per-child", type=int, default=DecodeLimits().videos_per_child)
    parser.add_argument("--decoder", default="pyav")
    arguments = parser.parse_args()
    print(
        json.dumps(run(arguments.folder, arguments.count, arguments.per_child, arguments.decoder))
    )


if __name__ == "__main__":
    main()
