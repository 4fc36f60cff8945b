"""Arrow schema of a sweep: the results of several prunings of one model for every unit."""

from __future__ import annotations

import pyarrow as pa

from workers.schema import IDENTITY, OUTCOME, column

SWEEP_SCHEMA_VERSION = 2

SWEEP = (
    column("variant", pa.string(), "name of the pruning; run.json says what it is"),
    column("label_id", pa.int32(), "most probable class by the mean over all views"),
    column(
        "probabilities",
        pa.list_(pa.float32()),
        "(views, classes), row-major; views clip by clip and crop by crop",
    ),
    column("flops", pa.int64(), "multiply-accumulates of all views, fvcore's convention"),
    column("device_ms", pa.float64(), "device time of all views, milliseconds"),
)

SWEEP_SCHEMA = pa.schema(
    [
        *IDENTITY,
        *OUTCOME,
        column("labeled_at", pa.timestamp("ms", tz="UTC"), "when this row was made"),
        column(
            "sweep",
            pa.list_(pa.struct(list(SWEEP))),
            "one entry per variant, always in the same order; null if failed",
        ),
    ]
)
