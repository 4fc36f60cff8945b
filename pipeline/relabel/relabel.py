"""A run's new labels, from the embeddings that it stores to _SUCCESS."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from pipeline.embeddings.features import feature_spec
from pipeline.embeddings.read import embedding_record
from pipeline.errors import RunError, UsageError
from pipeline.job_commands import job_command
from pipeline.messages import best_effort, say
from pipeline.prices import Prices
from pipeline.relabel.rows import relabeled, with_device_ms
from pipeline.reports.run import write_run_report
from pipeline.run.commits import commit_rows, confirmed_commits, reconcile
from pipeline.run.lease import held
from pipeline.run.run_directory import RunDirectory, check_same, environment, now
from pipeline.run.run_record import Attempt, ClusterRecord, RunRecord
from pipeline.run.run_tables import read_table
from pipeline.run.sampled import copy_sample, delete_sample
from pipeline.run.tables import build_tables
from pipeline.verify.verify import verify
from sta import CheckpointError, labels_fingerprint
from sta.heads import LinearHead
from workers.machine import cpu_model, usable_cores
from workers.schema import UNIT_SCHEMA_VERSION, UNITS_SCHEMA

_GALLERY = 0  # the earlier run's report shows kept tokens, for which videos are decoded


@dataclass(frozen=True)
class Relabeling:
    """What is labeled anew, and how.

    Attributes:
        source: a finished run that stores embeddings.
        output: the run that is made.
        head: classifies them.
        head_file: the head's file as the user names it; None for the head of a checkpoint.
        keep_embeddings: whether the new run stores the embeddings too.
        prices: of machines, for the report; None for none.
    """

    source: RunDirectory
    output: RunDirectory
    head: LinearHead
    head_file: str | None = None
    keep_embeddings: bool = False
    prices: Prices | None = None

    def __post_init__(self) -> None:
        if self.output.root.resolved().uri == self.source.root.resolved().uri:
            raise UsageError("NEW_OUTPUT is OUTPUT itself; name another folder for the new labels")


def relabel(relabeling: Relabeling) -> RunRecord:
    """Labels every unit of the source with the head; returns the record of the finished run.

    The source's units are read file by file, and each gives one file of the new run, which is
    written as a commit: a killed command goes on where it ended.

    Raises:
        UsageError: the source stores no embeddings, they are of another model than the head was
            trained on, or NEW_OUTPUT holds something else.
        RunError: the tables of the source are damaged.
    """
    source = embedding_record(relabeling.source)
    planned = _planned(relabeling, source)
    run = relabeling.output
    if run.exists():
        check_same(run.load().identity, planned.identity, run.root.uri)
        record = run.load()
        if run.success.exists() and record.sample == source.sample:
            say(f"{run.root.uri} is complete; nothing to do.")
            return record
        run.success.delete()
    else:
        run.check_unused()
    run.root.check_writable()
    taken = _Taken(run)
    with held(run.root, lost=taken, say=say):
        record = _begun(relabeling, planned)
        try:
            _label(relabeling, taken, record.run_id)
            return _finished(run, record)
        except (pa.ArrowException, ValueError) as error:
            raise RunError(
                f"the tables of {relabeling.source.root.uri} cannot be read: {error}",
                advice=f"Check them: {job_command('verify', relabeling.source.root.uri)}",
            ) from error


class _Taken:
    """Whether another command has taken over the run; called from another thread."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self.is_true = False

    def __call__(self) -> None:
        self.is_true = True

    def check(self) -> None:
        """Raise RunError if it has."""
        if self.is_true:
            raise RunError(f"another command has taken over {self._run.root.uri}", advice="")


def _planned(relabeling: Relabeling, source: RunRecord) -> RunRecord:
    """The record of the new run, before it has one.

    Raises:
        UsageError: the head does not fit the run's embeddings.
    """
    head, where = relabeling.head, relabeling.source.root
    features = feature_spec(source)
    try:
        head.features.check_fits(features, where.uri)
    except CheckpointError as error:
        raise UsageError(str(error)) from error
    identity = dataclasses.replace(
        source.identity,
        labels=labels_fingerprint(head.labels),
        head=head.fingerprint,
        relabeled=where.resolved().uri,
        embeddings=source.identity.embeddings if relabeling.keep_embeddings else None,
        shadow_share=0.0,
        early_exit=None,
        budget=None,
        early_exit_curve=None,
        unit_schema=UNIT_SCHEMA_VERSION,
    )
    model = dataclasses.replace(
        source.model,
        labels=head.labels,
        label_map=None,
        notes=source.model.notes + tuple(head.features.differences(features)),
        flops_per_view=head.flops,
        flops_per_view_unpruned=head.flops,
        trained_on=head.trained_on,
        flops_vary_by_clip=False,
    )
    return RunRecord(
        identity=identity,
        model=model,
        created=now(),
        listing=source.listing,
        environment=environment(),
        prices=relabeling.prices,
        sample=source.sample,
        flags={} if relabeling.head_file is None else {"head": relabeling.head_file},
    )


def _begun(relabeling: Relabeling, planned: RunRecord) -> RunRecord:
    """The run with its manifest, run.json and one more attempt."""
    run, sample = relabeling.output, planned.sample
    if not run.exists():
        _copy_manifest(relabeling.source, run)
        planned = run.create(planned)
    else:
        planned = run.resume()
        say(reconcile(run).line())
    copy_sample(relabeling.source, run, sample)
    cores = float(usable_cores())
    device = f"cpu: 1 thread of {cpu_model()}"
    attempt = Attempt(
        began=_moment(),
        ended=None,
        cpus=cores,
        gpus=0.0,
        nodes=1,
        decoders=0,
        decoder_cpus=0.0,
        labelers=1,
        labeler_cpus=1.0,
        labeler_gpus=0.0,
        devices=(device,),
    )
    record = dataclasses.replace(
        planned,
        attempts=(*planned.attempts, attempt),
        sample=sample,
        device=ClusterRecord(cpu_model(), cores, 0.0, 1, (device,)),
        prices=relabeling.prices or planned.prices,
    )
    run.save(record)
    if planned.sample != sample:
        delete_sample(run, planned.sample)
    return record


def _moment() -> datetime.datetime:
    """The present time in UTC, in milliseconds: the whole command may take less than a second."""
    present = datetime.datetime.now(datetime.UTC)
    return present.replace(microsecond=present.microsecond // 1000 * 1000)


def _copy_manifest(source: RunDirectory, run: RunDirectory) -> None:
    run.manifest.delete_parts()
    for part in source.manifest.files(".parquet"):
        run.manifest.child(part.name).write_bytes(part.read_bytes())


def _label(relabeling: Relabeling, taken: _Taken, run_id: str | None) -> None:
    """Writes the units of every commit of the source that the run does not have yet."""
    run = relabeling.output
    metadata = run.schema_metadata()
    sources = confirmed_commits(relabeling.source)
    done = confirmed_commits(run)
    for folder in (run.units, run.checkpoint):
        filesystem, path = folder.filesystem()
        filesystem.create_dir(path, recursive=True)
    for number, (name, files) in enumerate(sources.items(), 1):
        if name in done:
            continue
        taken.check()
        began = time.process_time()
        units = pa.concat_tables(
            [read_table(file, UNITS_SCHEMA, UNITS_SCHEMA.names) for file in files]
        )
        rows = relabeled(
            units,
            relabeling.head,
            keep_embeddings=relabeling.keep_embeddings,
            now=_moment(),
        )
        rows = with_device_ms(rows, time.process_time() - began)
        if run_id is not None and (lost := run.lost(run_id)) is not None:
            raise lost
        commit_rows(run, name, rows.replace_schema_metadata(metadata))
        if number % 100 == 0 or number == len(sources):
            say(f"{number:,} of {len(sources):,} files of units are relabeled")


def _finished(run: RunDirectory, record: RunRecord) -> RunRecord:
    totals = build_tables(run)
    *earlier, last = record.attempts
    record = dataclasses.replace(
        record,
        attempts=(*earlier, dataclasses.replace(last, ended=_moment())),
        totals=totals,
        finished=now(),
    )
    run.save(record)
    problems = [f"{each.what}: {each.problem}" for each in verify(run) if each.problem]
    if problems:
        raise RunError(f"the tables do not agree with each other: {'; '.join(problems)}")
    draw: Callable[[], object] = partial(write_run_report, run, gallery=_GALLERY)
    best_effort(
        "The report",
        draw,
        again=f"The labels are complete; {job_command('report', run.root.uri)} tries again.",
    )
    run.success.write_bytes(b"", make_folder=False)
    return record
