"""What fast decoding costs and keeps, against exact decoding of all views.

    python jobs/make_demo_archive.py archive --videos 1200
    python -m tests.scale.decode_modes archive --agreement 0.99

decodes each video exactly and fast, in turn, labels all views of both with the demo model, and fits
the early-exit threshold under each mode as `jobs/calibrate.py` does, without Ray, in one process.
Core-seconds are those of the decoder's child and of its actor, of all clips. Ctrl-C reports on the
videos so far.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

import sta
from pipeline.early_exit.fitting import AgreementGuarantee, Trace
from pipeline.early_exit.margins import ViewMargins
from pipeline.inputs.manifest import MANIFEST_SCHEMA
from pipeline.statistics import share
from workers.decode_actor import DecodeActor
from workers.decoding import DECODE_MODES
from workers.inference.labeler import LabelerConfig
from workers.precisions import fast_precision
from workers.sampling import protocol
from workers.sweep_actor import SweepActor

_AT_ONCE = 8


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of videos")
    parser.add_argument("--videos", type=int, help="so many of them")
    parser.add_argument("--agreement", type=float, default=0.99)
    parser.add_argument("--r", type=int, default=22)
    asked = parser.parse_args()
    files = sorted(asked.folder.glob("*.mp4"))[: asked.videos]
    size = sta.load_model("demo").config.image_size
    views = protocol("videomae-k400", size=size)
    decoders = {mode: DecodeActor(views, mode=mode) for mode in DECODE_MODES}
    config = LabelerConfig("demo", precision=fast_precision("cpu"), threads=1)
    labeler = SweepActor(config, views, variants={"r": sta.Pruning(r=asked.r)})
    rows: dict[str, list[dict]] = {mode: [] for mode in DECODE_MODES}
    spent: dict[str, list[float]] = {mode: [] for mode in DECODE_MODES}
    with contextlib.suppress(KeyboardInterrupt):
        for begin in range(0, len(files), _AT_ONCE):
            some = files[begin : begin + _AT_ONCE]
            decoded: dict[str, list[pa.Table]] = {mode: [] for mode in DECODE_MODES}
            for number, file in enumerate(some):
                for mode in DECODE_MODES[:: 1 if number % 2 else -1]:
                    table, core_s = _decoded(decoders[mode], file)
                    decoded[mode].append(table)
                    spent[mode].append(core_s)
            for mode, tables in decoded.items():
                rows[mode] += labeler(pa.concat_tables(tables)).to_pylist()
            print(f"{begin + len(some):,} of {len(files):,} videos", flush=True)
    for decoder in decoders.values():
        decoder.close()
    _report(rows, spent, AgreementGuarantee(asked.agreement, 0.95), views.views_in_order)


def _decoded(actor: DecodeActor, file: Path) -> tuple[pa.Table, float]:
    row = {"unit_id": file.name, "video_id": file.name, "uri": str(file)}
    entry = pa.Table.from_pylist([row], schema=MANIFEST_SCHEMA)
    began = time.process_time()
    (table,) = actor(entry)
    return table, time.process_time() - began + table["decode_ms"][0].as_py() / 1e3


def _report(
    rows: dict[str, list[dict]],
    spent: dict[str, list[float]],
    guarantee: AgreementGuarantee,
    order: list[tuple[int, int]],
) -> None:
    exact, fast = DECODE_MODES
    good = [
        number
        for number, both in enumerate(zip(*rows.values(), strict=False))
        if all(row["status"] == "ok" for row in both)
    ]
    crops = 1 + max(crop for _, crop in order)
    numbers = [clip * crops + crop for clip, crop in order]
    known = {
        mode: ViewMargins.of_probabilities(
            np.array(
                [
                    np.reshape(table[number]["sweep"][0]["probabilities"], (len(order), -1))
                    for number in good
                ],
                np.float32,
            ),
            numbers,
        )
        for mode, table in rows.items()
    }
    reference = known[exact].labels[:, -1]
    ratio = np.array(spent[fast])[good] / np.array(spent[exact])[good]
    low, middle, high = np.percentile(ratio, (25, 50, 75))
    print(f"fast over exact, core-seconds of a video: {middle:.2f} ({low:.2f}-{high:.2f})")
    for mode, margins in known.items():
        trace = Trace.of(margins, reference)
        kept = share(int((~trace.missed[0]).sum()), len(good))
        said = (
            f"{mode}: {1e3 * np.median(np.array(spent[mode])[good]):.1f} core-ms to decode; all "
            f"views keep {kept.percent()} of {len(good):,} labels"
        )
        if not guarantee.is_provable(len(good)):
            print(f"{said}; too few videos for {100 * guarantee.agreement:g} %")
            continue
        number = trace.chosen(guarantee)
        if number is None:
            print(f"{said}; no threshold keeps {100 * guarantee.agreement:g} %")
            continue
        point = trace.curve(guarantee.confidence)[number]
        print(
            f"{said}; {point.views:.2f} views at threshold {point.threshold:.4g} keep "
            f"{100 * point.agreement:.2f} % ({100 * point.low:.2f} at least)"
        )


if __name__ == "__main__":
    main()
