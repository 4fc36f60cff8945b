"""Arrow schema of trials: what several prunings of one model say of every view of a unit."""

from __future__ import annotations

import pyarrow as pa

from workers.schema import IDENTITY, OUTCOME, column

TRIAL_SCHEMA_VERSION = 2

TRIAL = (
    column("variant", pa.string(), "name of the pruning; run.json says what it is"),
    column("label_id", pa.int32(), "most probable class by the mean over all views"),
    column(
        "probabilities",
        pa.list_(pa.float32()),
        "(views, classes), row-major; views clip by clip and crop by crop",
    ),
    column("flops", pa.int64(), "multiply-accumulates of all views, fvcore's convention"),
    column("gpu_ms", pa.float64(), "device time of all views, milliseconds"),
)

TRIALS_SCHEMA = pa.schema(
    [
        *IDENTITY,
        *OUTCOME,
        column("labelled_at", pa.timestamp("ms", tz="UTC"), "when this row was made"),
        column(
            "trials",
            pa.list_(pa.struct(list(TRIAL))),
            "one entry per variant, by their names' order; null if failed",
        ),
    ]
)
