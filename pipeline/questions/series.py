"""A run that is labeled sample by sample, each a finished run that the next goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.inputs.manifest import count_rows
from pipeline.labeling.begin import begin_like
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import LabelPlan, plan_labeling
from pipeline.labeling.run import begin_run, label
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.run.sampled import holds, write_sample


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

    def label(self, rows: pa.Table | None) -> RunRecord:
        """Labels units, unless the run has labeled them; returns its record.

        Args:
            rows: of the manifest; None for all.
        """
        if self.run.success.exists() and _has(self.run, rows):
            return self.run.load()
        sample = None if rows is None else write_sample(self.run, rows)
        # The plan of a run that exists has its precision.
        return label(plan_labeling(self.options), self.options, sample=sample)


def _has(run: RunDirectory, rows: pa.Table | None) -> bool:
    return run.load().sample is None if rows is None else holds(run, rows)
