"""Commands for the next steps after a labeling run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from pipeline.errors import UsageError
from pipeline.inputs.demo.runs import PRUNED_RUN, UNPRUNED_RUN
from pipeline.job_commands import arguments, is_submitted, job_words, next_lines, short_path
from pipeline.run.run_directory import RunDirectory
from pipeline.run.run_record import RunRecord
from pipeline.storage.location import Location

_EXAMPLE = "MCG-NJU/videomae-base-finetuned-kinetics"

# Of a terminal, so that no column of a table is wrapped or left out.
_COLUMNS = 80
# Columns of videos/ that are no free text, and how wide they are.
_WIDTHS = {"score": len("0.123456"), "status": len("status")}
_ROWS = 20


@dataclass(frozen=True)
class OtherRun:
    """The labeling command whose run is proposed for a comparison with the present run.

    Attributes:
        flags: of the command: those of the present run, without those of pruning.
        source: INPUT; None for the demo.
        output: OUTPUT of the command, or of the demo.
    """

    flags: Sequence[str]
    source: str | None
    output: str


def next_steps(
    task: str, run: RunDirectory, record: RunRecord, other: OtherRun, video_id: str | None
) -> list[str]:
    """Lines of what to do next, each command on a line of its own; none where nothing was labeled.

    Args:
        task: "k400" or "ssv2".
        run: the finished run.
        record: its record.
        other: what the run is best compared with.
        video_id: a labeled video; None where there is none.
    """
    if video_id is None:
        return []
    pruned = record.identity.is_pruned
    adaptive = record.identity.early_exit is not None
    here, there = (short_path(Location.of(each).uri) for each in (run.root.uri, other.output))
    way = "without pruning" if pruned or adaptive else "with pruning"
    steps: dict[str, list[str]] = {}
    if not _is_finished(other.output):
        views = "with all views and " if adaptive else ""
        steps[f"Label the same videos {views}{way}:"] = _labeling(task, other)
    demo = other.source is None and {here, there} == {PRUNED_RUN, UNPRUNED_RUN}
    steps["Compare the cost and the labels of both runs:"] = [
        *job_words("cost_report"),
        *([] if demo else arguments(here, there)),
    ]
    if pruned:
        steps["Show the tokens that the model kept of a video:"] = [
            *job_words("show_tokens"),
            *arguments(here, video_id),
        ]
    if other.source is None:
        steps["Label your own videos:"] = [
            *job_words(f"label_{task}"),
            *("VIDEOS", "OUTPUT", "--checkpoint", _EXAMPLE),
        ]
    return next_lines(steps)


def other_output(output: str, *, pruned: bool, adaptive: bool) -> str:
    """An OUTPUT beside this one for the run that it is best compared with.

    Of an unpruned run whose OUTPUT was made here it is the OUTPUT that it was made from.
    """
    output = output.rstrip("/")
    if pruned or adaptive:
        return f"{output}{'-r-0' if pruned else '-all-views'}"
    return output.removesuffix("-r-0") if output.endswith("-r-0") else f"{output}-pruned"


def open_command(run: RunDirectory, columns: Sequence[str]) -> str:
    """A command that prints the first rows of videos/ so that all columns are seen at 80 characters
    a line: of ids the end, of other texts the beginning.

    Args:
        run: a run with its tables.
        columns: of videos/; those of text share the width.
    """
    texts = [name for name in columns if name not in _WIDTHS]
    fixed = sum(_WIDTHS.get(name, 0) for name in columns)
    width = (_COLUMNS - fixed - len(columns)) // len(texts)
    place = json.dumps(_address(run.videos), ensure_ascii=False)
    names = json.dumps(list(columns))
    code = (
        f"import pyarrow.dataset as ds; "
        f"print(ds.dataset({place}).head({_ROWS}, columns={names}).to_pandas().to_string("
        f'index=False, max_colwidth={width}, formatters={{"video_id": lambda v: '
        f"repr(v)[1:-1][-{width}:]}}))"
    )
    return shlex.join(["python", "-c", code])


def _labeling(task: str, other: OtherRun) -> list[str]:
    submit = ["ray", "job", "submit", "--working-dir", ".", "--"] if is_submitted() else []
    words = [*submit, *job_words(f"label_{task}")]
    if other.source is None:
        return [*words, *other.flags]
    output = short_path(Location.of(other.output).uri)
    return [*words, *arguments(other.source, output, flags=other.flags)]


def _address(place: Location) -> str:
    """As Arrow takes it: a path, or an address in which other characters than usual are escaped."""
    if not place.is_object:
        return short_path(place.uri)
    scheme, _, path = place.uri.partition("://")
    return f"{scheme}://{quote(path)}"


def _is_finished(output: str) -> bool:
    """Whether a run is finished there; False as well where that cannot be told."""
    try:
        return RunDirectory(Location.of(output)).success.exists()
    except (OSError, UsageError):
        return False
