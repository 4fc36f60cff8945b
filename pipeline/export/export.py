"""Writes a finished run in the format of another tool."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from pipeline.errors import RunError, UsageError
from pipeline.export.activitynet import DETECTIONS, write_activitynet
from pipeline.export.csv_files import write_csv
from pipeline.export.fiftyone import LABELS, write_fiftyone
from pipeline.export.hugging_face import CARD, write_hugging_face
from pipeline.export.label_studio import TASKS, write_label_studio
from pipeline.export.labeled_videos import LabeledVideo, labeled_videos
from pipeline.export.tables import ExportTable, tables_of
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from sta.text import displayed
from workers.failures import one_line

FORMATS = (
    *("fiftyone", "label-studio", "activitynet", "csv"),
    *("iceberg", "lance", "delta", "huggingface"),
)
# Formats whose tables can take the rows of several runs.
_GROWING = ("iceberg", "lance", "delta")
# The module of a format's library, and the extra of this package that installs it.
_LIBRARIES = {"iceberg": "pyiceberg", "lance": "lance", "delta": "deltalake"}


@dataclass(frozen=True)
class Output:
    """A file or table of an export.

    Attributes:
        name: how messages name it.
        exists: whether it is there already.
        write: writes it, in place of what is there.
    """

    name: str
    exists: Callable[[], bool]
    write: Callable[[], None]


def export(
    run: RunDirectory,
    to: str,
    dest: str,
    *,
    overwrite: bool = False,
    append: bool = False,
    catalog: str | None = None,
) -> list[str]:
    """Writes a run in a format, and returns the names of what was written.

    Args:
        run: a finished run.
        to: the format, of FORMATS.
        dest: folder, local or s3://; with `catalog` a namespace.
        overwrite: replace what an earlier export wrote there.
        append: add the run to tables that are there, in place of its own rows.
        catalog: name of a configured Iceberg catalog.

    Raises:
        UsageError: the run is not finished, the destination exists or cannot be used, or the
            format's library is not installed.
        RunError: the format's library failed.
        OSError, pa.ArrowException: a table of the run cannot be read, or the destination written.
    """
    _check_flags(to, overwrite=overwrite, append=append, catalog=catalog)
    run.check_labels()
    if not run.success.exists():
        raise UsageError(
            f"the run in {run.root.uri} is not finished; run its labeling command again to finish "
            f"it, then export it"
        )
    if catalog is None:
        place = Location.of(dest)
        _check_apart(run, place)
        place.check_writable()
    outputs = _outputs(run, to, dest, append=append, catalog=catalog)
    taken = [each.name for each in outputs if each.exists()]
    if taken and not (overwrite or append):
        how = "--append adds this run to it, " if to in _GROWING else ""
        raise UsageError(
            f"there is already {taken[0]}; {how}--overwrite replaces it, or name another DEST"
        )
    for output in outputs:
        try:
            output.write()
        except (UsageError, OSError, pa.ArrowException):
            raise
        except Exception as error:  # of the format's library, which has kinds of its own
            raise RunError(
                f"{output.name} could not be written: {one_line(str(error))}",
                advice="Remove the cause and run the same command again.",
            ) from error
    return [each.name for each in outputs]


def _check_flags(to: str, *, overwrite: bool, append: bool, catalog: str | None) -> None:
    if append and overwrite:
        raise UsageError("--append keeps what --overwrite replaces; leave one of them out")
    if append and to not in _GROWING:
        raise UsageError(f"--append is for {', '.join(_GROWING)}; got --to {to}")
    if catalog is not None and to != "iceberg":
        raise UsageError(f"--catalog is for iceberg; got --to {to}")
    library = _LIBRARIES.get(to)
    if library is not None and importlib.util.find_spec(library) is None:
        raise UsageError(
            f"--to {to} needs the package {library}, which the extra {to!r} brings: "
            f"pip install -c constraints.txt -e '.[{to}]'"
        )


def _check_apart(run: RunDirectory, dest: Location) -> None:
    """Refuses a destination in OUTPUT, whose tables have the names of those of an export."""
    root, place = run.root.resolved().uri, dest.resolved().uri
    if f"{place}/".startswith(f"{root}/"):
        raise UsageError(f"DEST {dest.uri} lies in the run itself; name a folder outside of OUTPUT")


def _outputs(
    run: RunDirectory, to: str, dest: str, *, append: bool, catalog: str | None
) -> list[Output]:
    if to == "iceberg":
        return _iceberg(tables_of(run), dest, append=append, catalog=catalog)
    folder = Location.of(dest)
    if to in ("csv", "lance", "delta"):
        return [_of_table(to, folder, each, append=append) for each in tables_of(run)]
    return [_of_folder(run, to, folder)]


def _iceberg(
    tables: list[ExportTable], dest: str, *, append: bool, catalog: str | None
) -> list[Output]:
    from pipeline.export.iceberg import IcebergTables  # loads pyiceberg, which is optional

    place = IcebergTables(dest, catalog)
    return [
        Output(
            f"{place.namespace}.{each.name} in {catalog or dest}",
            partial(place.exists, each),
            partial(place.write, each, append=append),
        )
        for each in tables
    ]


def _of_table(to: str, folder: Location, table: ExportTable, *, append: bool) -> Output:
    if to == "csv":
        file = folder.child(f"{table.name}.csv")
        return Output(file.uri, file.exists, partial(write_csv, file, table))
    if to == "lance":
        from pipeline.export import lance_files as library  # loads an optional package
    else:
        from pipeline.export import delta as library  # type: ignore[no-redef]
    place = folder.child(f"{table.name}.lance" if to == "lance" else table.name)
    return Output(
        place.uri,
        partial(library.exists, place),
        partial(library.write, place, table, append=append),
    )


def _of_folder(run: RunDirectory, to: str, folder: Location) -> Output:
    """Of a format whose folder holds one file that readers begin with."""
    record = run.load()
    model, classes = record.model, record.model.labels
    weights = record.identity.model.removeprefix("sha256:")[:12]
    name = f"{model.architecture} {weights}"

    def videos() -> Iterator[LabeledVideo]:
        return labeled_videos(run)

    def write() -> None:
        if to == "fiftyone":
            write_fiftyone(folder, videos(), classes)
        elif to == "activitynet":
            write_activitynet(folder, videos(), model=name)
        elif to == "label-studio":
            segmented = record.identity.has_segments
            write_label_studio(folder, videos(), classes, model=name, timeline=segmented)
        else:
            about = displayed(f"Labels of {record.identity.input} by {name}.")
            write_hugging_face(folder, tables_of(run), about=about)

    first = {"fiftyone": LABELS, "activitynet": DETECTIONS, "label-studio": TASKS}.get(to, CARD)
    return Output(folder.child(first).uri, folder.child(first).exists, write)
