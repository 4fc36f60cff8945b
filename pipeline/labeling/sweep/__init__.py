"""Trials: several prunings of one model on the same decoded videos, for every view what each says.

A trials run goes through the machinery of a labelling run, with its listing, manifest, lease and
checkpoints, and its folder has the same places. What differs is the row: TRIALS_SCHEMA.
"""

from pipeline.labeling.sweep.options import TrialOptions
from pipeline.labeling.sweep.run import run_trials
from pipeline.run.sweep_tables import Trials, read_trials

__all__ = ["TrialOptions", "Trials", "read_trials", "run_trials"]
