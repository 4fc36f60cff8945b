"""The flags of what a run's report shows besides the run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pipeline.errors import UsageError
from pipeline.flags import flag

REPORTS = "shadow sample and reports"


@dataclass(frozen=True)
class ReportFlags:
    """What the report is told of; fields are flags. They change no row."""

    compare_to: str | None = flag(
        "earlier run (directory or s3://bucket/prefix) with whose labels, and embeddings where "
        "both runs store them, the report compares this run: population shift, classes that grew "
        "or vanished, and the videos farthest from any of the earlier run",
        None,
        metavar="OLD_OUTPUT",
        group=REPORTS,
    )

    def __post_init__(self) -> None:
        if self.compare_to is not None and not self.compare_to:
            raise UsageError("--compare-to needs the OUTPUT of an earlier run")
        _ = self.reference  # refuses an address of a store that is not known

    @property
    def reference(self) -> str | None:
        """The OUTPUT of the earlier run, resolved."""
        from pipeline.storage.location import Location  # loads what --help does not need

        return None if self.compare_to is None else Location.of(self.compare_to).uri


REPORT_FLAGS = tuple(field.name for field in dataclasses.fields(ReportFlags))
"""The attributes that these flags set."""
