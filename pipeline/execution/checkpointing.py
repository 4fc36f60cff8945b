"""Ray Data's checkpointing of a run whose units several drivers label at the same time.

All drivers of a run share `_checkpoint/`. Before its graph starts, Ray Data deletes the files of
units/ whose checkpoint is pending, since it takes them for those of an attempt that was killed. Of
several drivers, one would delete what another is just writing. `reconcile` has repaired such
commits before any driver starts, so pending checkpoints are hidden from Ray Data.
"""

from __future__ import annotations

from typing import Any

import pyarrow.fs as pafs
import ray
from ray.data.checkpoint import CheckpointConfig
from ray.data.checkpoint.checkpoint_filter import IdColumnCheckpointManager
from ray.data.expressions import Expr, col

from pipeline.run.commits import PENDING
from pipeline.run.own_files import OwnFiles
from pipeline.run.run_directory import RunDirectory
from pipeline.run.slices import Slice
from pipeline.storage.proxy_filesystem import Delegating


def checkpointing(run: RunDirectory, within: Slice | None) -> CheckpointConfig:
    """Skips units with a committed row, and commits rows in two phases.

    `within`: loads the ids of this slice alone; None for those of the whole run.
    """
    config = CheckpointConfig(
        id_column="unit_id",
        checkpoint_path=run.checkpoint.filesystem()[1],
        override_filesystem=_NothingPending(own_files(run)).filesystem(),
        delete_checkpoint_on_success=False,
        checkpoint_manager_cls=None if within is None else _of_slice(within),
    )
    # The pools are sized for one filter; Ray's default is up to ten, of one core each.
    config.checkpoint_actor_pool_max_size = 1
    return config


def own_files(run: RunDirectory) -> pafs.FileSystem:
    """The file system that workers write to; it refuses once OUTPUT is no longer this run's."""
    run_id = run.load().run_id
    return OwnFiles(run, run_id).filesystem() if run_id else run.root.filesystem()[0]


def belongs(within: Slice) -> Expr:
    """Whether a row's `unit_id` is in a slice."""
    expression = col("unit_id") >= within.low
    return expression if within.high is None else expression & (col("unit_id") < within.high)


class _NothingPending(Delegating):
    """A file system whose folders list no pending checkpoint; single files are as they are."""

    def __init__(self, files: pafs.FileSystem) -> None:
        super().__init__()
        self.protocol = files.handler.protocol
        self._files = files

    def native(self) -> pafs.FileSystem:
        """The whole file system."""
        return self._files

    def get_file_info_selector(self, selector: pafs.FileSelector) -> Any:
        """What a folder holds, without pending checkpoints."""
        found = super().get_file_info_selector(selector)
        return [each for each in found if not each.path.endswith(PENDING)]


def _of_slice(within: Slice) -> type[IdColumnCheckpointManager]:
    """A class that loads the committed ids of one slice."""

    class SliceCheckpoints(IdColumnCheckpointManager):  # type: ignore[misc]
        def _preprocess_data_pipeline(self, checkpoint_ds: ray.data.Dataset) -> ray.data.Dataset:
            return checkpoint_ds.filter(expr=belongs(within))

    return SliceCheckpoints
