"""Finds the columns of a list: the path, label and id of a video under the names that lists use."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.list_row import NotAListError

# Other names of each column. A column of the exact name has priority; names are compared without
# case, blanks, underscores and hyphens.
COLUMN_NAMES: dict[str, tuple[str, ...]] = {
    "uri": (
        "path", "file", "filename", "filepath", "url", "video", "videopath", "videofile",
        "videoname", "clippath",
    ),
    "label": ("class", "classname", "classid", "labelname", "labelid", "category", "action"),
    "video_id": (),
    "size_bytes": (),
    "etag": (),
}  # fmt: skip

OURS = ("unit_id", "part", "start_s", "end_s")
"""Columns of a run's manifest that say which unit a row is, besides video_id and uri."""

KINETICS = ("youtube_id", "time_start", "time_end", "split")
"""Columns of Kinetics' CSV besides label."""
_GROUND_TRUTH = "ground_truth"
TEMPLATE, ID = "template", "id"
DATABASE = "database"
"""Key of ActivityNet's JSON."""

MOST_NAMES = 100
"""Columns that are named as not read, and kinds of objects of a JSON list that are kept."""

FLAGS = {"uri": "uri_column", "label": "label_column", "video_id": "id_column"}
"""Columns that a user can name: ours, and the field of `ListOptions`."""

_FOLDED = {ours: frozenset({ours.replace("_", ""), *all}) for ours, all in COLUMN_NAMES.items()}
_ALL_FOLDED = frozenset().union(*_FOLDED.values())
_NEEDS_ROOT = "which names ids instead of files; --video-root DIR names the folder of the files"
_KNOWN: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({KINETICS[0]}), f"Kinetics' official CSV, {_NEEDS_ROOT}"),
    (frozenset({TEMPLATE, ID}), f"Something-Something's JSON, {_NEEDS_ROOT}"),
    (frozenset({DATABASE}), f"ActivityNet's JSON, {_NEEDS_ROOT}"),
    (
        frozenset({"original_vido_id"}),
        "PySlowFast's list of single frames; name a list of the videos, or their folder",
    ),
    (frozenset({"annotations", "images"}), "COCO's JSON, which lists images"),
    (frozenset({"annotations", "videos"}), "COCO's JSON; write its videos as a separate list"),
    (frozenset({"labels", "annotations"}), "an annotation file of mmaction2's skeleton data"),
)


@dataclass(frozen=True)
class Columns:
    """The columns of a list.

    Attributes:
        names: for each column that is read its name in the list.
        unread: the list's other columns.
    """

    names: dict[str, str]
    unread: tuple[str, ...] = ()

    def of(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row with our names of the columns."""
        return {ours: row.get(theirs) for ours, theirs in self.names.items()}


def columns_of(
    names: Sequence[str], options: ListOptions, *, may_lack: Sequence[str] = ()
) -> Columns:
    """Finds the columns that are read among a list's columns.

    Args:
        names: the list's columns.
        options: of the list.
        may_lack: fields of `options` whose columns may be missing, as in one of several objects.

    Raises:
        NotAListError: there is no path and no id to find a file by, two columns have the meaning of
            one name, or a column that the user named is missing.
    """
    found: dict[str, str] = {}
    for ours in COLUMN_NAMES:
        wanted = getattr(options, FLAGS[ours]) if ours in FLAGS else None
        if wanted is None:
            found |= _by_meaning(ours, names)
        elif wanted in names:
            found[ours] = wanted
        elif FLAGS[ours] not in may_lack:
            raise missing_column(FLAGS[ours], options, names)
    if "uri" not in found:
        found |= _ids(found, names, options)
    else:
        found |= _ours(found, names)
    return Columns(found, tuple(name for name in names if name and name not in found.values()))


def is_header(names: Sequence[str], options: ListOptions) -> bool:
    """Whether texts are the names of a list's columns."""
    if options.uri_column is not None:
        return options.uri_column in names
    keys = set(map(_key, names))
    by_id = options.video_root is not None and (
        options.id_column in names or not keys.isdisjoint(("video_id", ID))
    )
    return by_id or any(folded(name) in _FOLDED["uri"] for name in names) or known_list(names) != ""


def are_all_known(names: Iterable[str]) -> bool:
    """Whether each text is the name of a column that is read."""
    return all(folded(name) in _ALL_FOLDED for name in names)


def known_list(names: Iterable[str]) -> str:
    """The known list that has these columns or keys, in words; "" for others."""
    keys = set(map(_key, names))
    return next((words for wanted, words in _KNOWN if wanted <= keys), "")


def missing_column(flag: str, options: ListOptions, names: Iterable[str]) -> NotAListError:
    """The error about a column that the user named and the list lacks."""
    wanted, names = getattr(options, flag), list(map(str, names))
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    return NotAListError(
        f"it has no column {wanted!r}, which --{flag.replace('_', '-')} names; it has "
        f"{', '.join(map(repr, names)) or 'none'}{guess}"
    )


def note_unread(unread: dict[str, None], names: Iterable[str]) -> None:
    """Notes columns that are not read, up to a bound: each object can have others."""
    for name in names:
        if len(unread) < MOST_NAMES:
            unread.setdefault(name)


def check_type(ours: str, field: pa.Field) -> None:
    """Raises NotAListError for a column that does not hold one text or value per row."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or (ours == "uri" and not text):
        raise NotAListError(
            f"its column {field.name} is {field.type}; the {ours} is "
            f"{'one text' if ours == 'uri' else 'one value'} per row"
        )


def folded(name: str) -> str:
    """A name of a column without case, blanks, underscores and hyphens."""
    return re.sub(r"[\s_-]+", "", str(name)).lower()


def _by_meaning(ours: str, names: Sequence[str]) -> dict[str, str]:
    """The column of one meaning, by its name in COLUMN_NAMES; empty if there is none."""
    exact = [name for name in names if _key(name) == ours]
    candidates = exact or [name for name in names if folded(name) in _FOLDED[ours]]
    if len(candidates) > 1:
        flag = f"; choose one by --{FLAGS[ours].replace('_', '-')}" if ours in FLAGS else ""
        raise NotAListError(
            f"it has {len(candidates)} columns that may be the {ours}: "
            f"{', '.join(candidates)}{flag}"
        )
    return {ours: candidates[0]} if candidates else {}


def _ids(found: dict[str, str], names: Sequence[str], options: ListOptions) -> dict[str, str]:
    """The columns by which the files of a list without paths are found below `--video-root`."""
    by_key = {_key(name): name for name in reversed(names)}
    known = known_list(names)
    if options.video_root is not None:
        if KINETICS[0] in by_key:
            return {key: by_key[key] for key in KINETICS if key in by_key}
        if ID in by_key and "video_id" not in found:
            label = {"label": by_key[TEMPLATE]} if TEMPLATE in by_key else {}
            return {"video_id": by_key[ID]} | ({} if options.label_column else label)
        if "video_id" in found:
            return {}
    if known:
        raise NotAListError(f"this looks like {known}")
    raise NotAListError(
        f"it has no column uri (or path, file_name, url, ...); it has "
        f"{', '.join(map(str, names)) or 'none'}; name the column of the paths by --uri-column"
    )


def _ours(found: dict[str, str], names: Sequence[str]) -> dict[str, str]:
    """The columns of a row that a run wrote: the part, and in a manifest unit and ground truth."""
    free = [name for name in names if name not in found.values()]
    by_key = {_key(name): name for name in reversed(free)}
    unit, part, *_ = OURS
    if unit not in by_key:
        return {part: by_key[part]} if part in by_key else {}
    label = {} if "label" in found or _GROUND_TRUTH not in by_key else {"label": _GROUND_TRUTH}
    ours = {key: key for key in OURS if key in by_key}
    return {key: by_key[name] for key, name in (ours | label).items()}


def _key(name: Any) -> str:
    return str(name).strip().lower()
