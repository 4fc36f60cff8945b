"""A run that is labeled sample by sample, each a finished run that the next goes on from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.inputs.manifest import count_rows
from pipeline.labeling.begin import begin_like
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import LabelPlan, plan_labeling
from pipeline.labeling.run import begin_run, label
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.run.slices import ID_DIGITS

_NUMBERS: int = 16**ID_DIGITS


def limit_of(count: int, population: int) -> str | None:
    """The limit of ids below which some `count` of the population lie; None for all.

    Ids are hashes, so the number below it is near `count`, and decided before any label is known.
    """
    if count >= population:
        return None
    return f"{math.ceil(_NUMBERS * count / population):0{ID_DIGITS}x}"


@dataclass(frozen=True)
class Series:
    """A labeling run of which a sample is labeled at a time.

    Attributes:
        options: of the run.
        plan: what it does.
    """

    options: LabelOptions
    plan: LabelPlan

    @classmethod
    def of(cls, options: LabelOptions) -> Series:
        """Loads the model and checks the options; see `plan_labeling`."""
        return cls(options, plan_labeling(options))

    @property
    def run(self) -> RunDirectory:
        """Where it lies."""
        return self.plan.run

    @property
    def flops_per_unit(self) -> int:
        """Multiply-accumulates of a unit of whole views."""
        return self.plan.protocol.views * self.plan.model.flops_per_view

    def begin(self, like: Series | None = None, *, read: Sequence[str] = ()) -> int:
        """Lists the input if that was not done; returns the number of units.

        Args:
            like: a series over the same units, whose manifest is taken.
            read: columns of the list that are read besides the usual ones.
        """
        if not self.run.exists():
            if like is None:
                begin_run(self.plan, self.options, read=read)
            else:
                begin_like(self.plan, like.run)
        return count_rows(self.run.manifest)

    def label(self, limit: str | None) -> RunRecord:
        """Labels the units below a limit, unless the run has them; returns its record."""
        record = self.run.load()
        if self.run.success.exists():
            below = record.sampled_below
            if below is None or (limit is not None and below >= limit):
                return record
        # The plan of a run that exists has its precision.
        return label(plan_labeling(self.options), self.options, sampled_below=limit)
