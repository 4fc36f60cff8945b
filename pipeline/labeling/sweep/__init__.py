"""Sweep: several prunings of one model on the same decoded videos, for every view what each says.

A sweep run goes through the machinery of a labeling run, with its listing, manifest, lease and
checkpoints, and its folder has the same places. What differs is the row: SWEEP_SCHEMA.
"""

from pipeline.labeling.sweep.options import SweepOptions
from pipeline.labeling.sweep.run import run_sweep
from pipeline.run.sweep_tables import Sweep, read_sweep

__all__ = ["Sweep", "SweepOptions", "read_sweep", "run_sweep"]
