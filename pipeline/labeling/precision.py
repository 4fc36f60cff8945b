"""Chooses the precision of a new run: once, for all of its labelers and attempts.

Labelers may run on other machines than the driver, and a run may be resumed on others. The rows of
a run have one precision: a machine without instructions for it computes the same, only slowly.
"""

from __future__ import annotations

from pipeline.execution.cluster import cluster_for
from pipeline.execution.processors import all_have_bfloat16
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import LabelPlan
from pipeline.run.devices import labeler_device
from workers.precisions import Precision


def with_precision(plan: LabelPlan, options: LabelOptions) -> LabelPlan:
    """The plan with the precision that the cluster's labelers compute fast, unless it has one.

    Ray must be running.
    """
    if plan.identity.precision is not None:
        return plan
    cluster = cluster_for(max_cpus=options.max_cpus, max_gpus=options.max_gpus)
    on_gpu = labeler_device(on_gpu=cluster.gpus >= 1) == "cuda"
    precision: Precision = "bfloat16" if on_gpu or all_have_bfloat16() else "float32"
    return plan.with_precision(precision)
