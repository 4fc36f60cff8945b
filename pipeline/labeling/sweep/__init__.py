"""Sweeps: predictions of several prunings of one model on the same decoded videos.

A sweep is a labeling run with other rows (SWEEP_SCHEMA): listing, manifest, lease, checkpoints and
folders are the same.
"""

from pipeline.labeling.sweep.options import SweepOptions
from pipeline.labeling.sweep.run import run_sweep
from pipeline.run.sweep_tables import Sweep, read_sweep

__all__ = ["Sweep", "SweepOptions", "read_sweep", "run_sweep"]
