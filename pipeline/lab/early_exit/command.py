"""The command line of the calibration."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import sta
from pipeline.early_exit.calibrate import EXACT, FAST, DecodeChoice, calibrate, tested_guarantee
from pipeline.early_exit.file import EarlyExitFile
from pipeline.early_exit.fitting import AgreementGuarantee
from pipeline.errors import UsageError
from pipeline.execution.ray_session import check_outlives_job
from pipeline.execution.run_failure import after_work
from pipeline.exit_codes import exit_code
from pipeline.flags import options_of
from pipeline.inputs.demo.archive import DEMO, ArchiveSettings, demo_archive
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.listing import Listing
from pipeline.job_commands import command_line, job_words
from pipeline.lab.early_exit.flags import DEMO_VIDEOS, binding, parser
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.pruning_flags import PruningFlags
from pipeline.labeling.sweep import SweepOptions, run_sweep
from pipeline.messages import say, tell
from pipeline.reports.early_exit.methodology import summary
from pipeline.reports.early_exit.page import page
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from workers.decoding.types import DECODERS
from workers.machine import usable_cores

# Other scenes than those of the archive that the labeling job makes.
_DEMO_SEED = 1


@dataclass(frozen=True)
class _Request:
    """What the flags ask for."""

    sweeps: Mapping[str, SweepOptions]
    file: Location
    report: Location
    variant: str
    guarantee: AgreementGuarantee
    decode: DecodeChoice
    all_views: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Calibrates, and returns the exit code; `argv` None for the process's arguments."""
    return exit_code(lambda: _calibrate(parser().parse_args(argv)))


def _calibrate(arguments: argparse.Namespace) -> None:
    asked = _request(arguments)
    runs: dict[str, RunDirectory] = {}
    for mode, sweep in asked.sweeps.items():
        if runs:
            say(f"Labeling the sample again, decoded with --decode {mode}.")
        runs[mode] = run_sweep(sweep)
    command = _command(arguments, asked)
    with after_work():
        found = calibrate(
            runs,
            asked.variant,
            asked.guarantee,
            decode=asked.decode,
            all_views=asked.all_views,
        )
        found.file.write(asked.file)
        asked.report.write_bytes(page(found, command).encode())
    tell(
        f"{summary(found)}\n\n"
        f"File:          {asked.file.uri}\n"
        f"Report:        {asked.report.uri}\n"
        f"Label with it: {command}"
    )


def _request(arguments: argparse.Namespace) -> _Request:
    guarantee = AgreementGuarantee(arguments.agreement, arguments.confidence)
    if arguments.all_views and arguments.decode != FAST:
        raise UsageError(
            "--all-views fits no threshold, so that only fast decoding is left to save anything; "
            "give --decode fast"
        )
    decode = _decode_choice(arguments)
    tested = tested_guarantee(guarantee, decode)
    tested.check(arguments.sample, f"--sample is {arguments.sample:,}")
    checkpoint = arguments.checkpoint or (None if arguments.input else "demo")
    if checkpoint is None:
        raise UsageError("--checkpoint is missing: name fine-tuned weights, or demo")
    pruning = _pruning(arguments, checkpoint)
    variant = f"r-{pruning.r}"
    file = _file_to_write(arguments)
    stem = file.uri.removesuffix(".json")
    source = arguments.input or _demo_archive(arguments.sample)
    output = arguments.sweep or f"{stem}-sweep"
    outputs = {EXACT: output}
    if decode != EXACT:
        outputs[FAST] = f"{output.rstrip('/')}-{FAST}"
    sweeps = {
        mode: SweepOptions(
            options_of(
                LabelOptions,
                arguments,
                task=arguments.task,
                source=source,
                output=place,
                checkpoint=checkpoint,
                lists=options_of(ListOptions, arguments),
                early_exit=None,
                decode=mode,
            ),
            {variant: pruning},
            arguments.sample,
        )
        for mode, place in outputs.items()
    }
    _check_enough(sweeps[EXACT].labeling.listing(), tested)
    return _Request(
        sweeps,
        file,
        Location(f"{stem}.html"),
        variant,
        guarantee,
        decode,
        arguments.all_views,
    )


def _decode_choice(arguments: argparse.Namespace) -> DecodeChoice:
    """The decode modes to choose from: `auto` is both, where the decoder has both."""
    choice: DecodeChoice = arguments.decode
    return "exact" if choice == "auto" and arguments.decoder != DECODERS[0] else choice


def _file_to_write(arguments: argparse.Namespace) -> Location:
    if arguments.input is not None and arguments.early_exit is None:
        raise UsageError("EARLY_EXIT is missing: name the file to write, such as early-exit.json")
    for what in ("input", "early_exit", "sweep", "video_root"):
        place = getattr(arguments, what)
        if place is not None:
            flag = {"sweep": "--sweep", "video_root": "--video-root"}.get(what, what.upper())
            check_outlives_job(place, flag)
    place = Location.of(arguments.early_exit or str(DEMO / "early-exit.json"))
    if place.uri.endswith(".html"):
        raise UsageError(
            "EARLY_EXIT is a JSON file, such as early-exit.json; its report goes beside it"
        )
    if place.exists():
        _check_is_early_exit_file(place)
    return place


def _check_is_early_exit_file(place: Location) -> None:
    """Refuses to overwrite another kind of file, before the hours of work."""
    try:
        EarlyExitFile.read(place)
    except UsageError as error:
        raise UsageError(
            f"EARLY_EXIT {place.uri} exists and is no early-exit file; name another file"
        ) from error


def _pruning(arguments: argparse.Namespace, checkpoint: str) -> sta.Pruning:
    """The pruning to calibrate."""
    model = sta.load_model(
        checkpoint,
        architecture=arguments.architecture,
        labels=arguments.labels,
        label_map=arguments.label_map,
        sha256=arguments.checkpoint_sha256,
    )
    return options_of(PruningFlags, arguments).of(model.architecture)


def _check_enough(listing: Listing, guarantee: AgreementGuarantee) -> None:
    """Refuses an input of too few videos before any work is done."""
    found = sum(1 for _ in islice(listing.videos(), guarantee.videos_needed))
    guarantee.check(found, f"{listing.source} has {found:,}")


def _demo_archive(sample: int) -> str:
    """The manifest of an archive of scenes that neither the model nor the labeling job has seen.

    A smaller archive is the beginning of a larger one.
    """
    settings = ArchiveSettings(videos=min(sample, DEMO_VIDEOS), seed=_DEMO_SEED)
    processes = usable_cores()
    return str(demo_archive(f"calibration-{settings.videos}", settings, processes=processes))


def _command(arguments: argparse.Namespace, asked: _Request) -> str:
    """The labeling command that uses the threshold, with every flag that must be the same."""
    words = job_words(f"label_{arguments.task}")
    if arguments.input is not None:
        words += ["INPUT", "OUTPUT"]
    if arguments.checkpoint is not None:
        words += ["--checkpoint", arguments.checkpoint]
    return command_line([*words, *binding(arguments), "--early-exit", asked.file.uri])
