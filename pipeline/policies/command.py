"""The command line of the calibration."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa

import sta
from pipeline.demo.archive import MANIFEST, ArchiveSettings, make_archive
from pipeline.errors import RunError, UsageError
from pipeline.label_flags import asked_of_work
from pipeline.listing import Listing
from pipeline.policies.calibrate import calibrate
from pipeline.policies.fitting import Promise
from pipeline.policies.flags import DEMO_VIDEOS, binding, parser
from pipeline.policies.page import page
from pipeline.policies.policy_file import PolicyFile
from pipeline.policies.words import summary
from pipeline.pruning_flags import pruning_from
from pipeline.ray_session import check_outlives_job
from pipeline.storage import Location
from pipeline.trials import TrialOptions, run_trials

_DEMO = Path("demo")
# Other scenes than those of the archive that the labelling job makes.
_DEMO_SEED = 1


@dataclass(frozen=True)
class _Request:
    """What the flags ask for."""

    trials: TrialOptions
    policy: Location
    report: Location
    variant: str
    r: int
    ladder: tuple[tuple[int, str], ...]
    promise: Promise


def main(argv: Sequence[str] | None = None) -> int:
    """Calibrates, and returns the exit code; `argv` None for the process's arguments."""
    arguments = parser().parse_args(argv)
    try:
        asked = _request(arguments)
        run = run_trials(asked.trials)
        found = calibrate(run, asked.variant, asked.promise, ladder=asked.ladder, r=asked.r)
        command = _command(arguments, asked)
        found.policy.write(asked.policy)
        asked.report.write_bytes(page(found, command).encode())
    except RunError as error:
        print(f"error: {error}\n{error.advice}".rstrip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to resume.", file=sys.stderr)
        return 1
    except pa.ArrowException as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except (UsageError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(summary(found))
    print(f"\nPolicy:       {asked.policy.uri}")
    print(f"Report:       {asked.report.uri}")
    print(f"Label by it:  {command}")
    return 0


def _request(arguments: argparse.Namespace) -> _Request:
    promise = Promise(arguments.agreement, arguments.confidence)
    promise.check(arguments.sample, f"--sample is {arguments.sample:,}")
    checkpoint = arguments.checkpoint or (None if arguments.input else "demo")
    if checkpoint is None:
        raise UsageError("--checkpoint is missing: name fine-tuned weights, or demo")
    r, variants, ladder = _variants(arguments, checkpoint)
    policy = _policy_place(arguments)
    stem = policy.uri.removesuffix(".json")
    source = arguments.input or str(_demo_archive(arguments.sample))
    _check_enough(source, promise, all_files=arguments.all_files)
    asked = asked_of_work(
        arguments,
        task=arguments.task,
        source=source,
        output=arguments.trials or f"{stem}-trials",
        checkpoint=checkpoint,
    )
    asked = dataclasses.replace(asked, all_files=arguments.all_files)
    trials = TrialOptions(asked, variants, arguments.sample)
    return _Request(trials, policy, Location(f"{stem}.html"), _name(r), r, ladder, promise)


def _policy_place(arguments: argparse.Namespace) -> Location:
    if arguments.input is not None and arguments.policy is None:
        raise UsageError("POLICY is missing: name a file such as policy.json for the policy")
    for name in filter(None, (arguments.policy, arguments.trials)):
        check_outlives_job(name)
    place = Location.of(arguments.policy or str(_DEMO / "policy.json"))
    if place.uri.endswith(".html"):
        raise UsageError("POLICY is a JSON file, such as policy.json; its report goes beside it")
    if place.exists():
        _check_is_policy(place)
    return place


def _check_is_policy(place: Location) -> None:
    """Refuses to write over what is no policy, before hours of work and not after them."""
    try:
        PolicyFile.read(place)
    except UsageError as error:
        raise UsageError(
            f"POLICY {place.uri} is there and is no policy file; name one of its own"
        ) from error


def _variants(
    arguments: argparse.Namespace, checkpoint: str
) -> tuple[int, dict[str, sta.Pruning], tuple[tuple[int, str], ...]]:
    """Drop number of the policy's pruning, every pruning by name, and the ladder."""
    pruning = pruning_from(arguments)
    r = arguments.r
    if r is None:
        model = sta.load_model(checkpoint, architecture=arguments.arch, labels=arguments.labels)
        r = sta.default_pruning(model.architecture).r
    rungs = parse_ladder(arguments.ladder, r) if arguments.ladder else ()
    variants = {_name(each): dataclasses.replace(pruning, r=each) for each in {r, *rungs}}
    return r, variants, tuple((each, _name(each)) for each in rungs)


def parse_ladder(text: str, r: int) -> tuple[int, ...]:
    """Drop numbers, ascending, of a text such as "8,16,22,24".

    Raises:
        UsageError: it is none, or `r` does not lie between its ends as one of them.
    """
    try:
        rungs = sorted({int(each) for each in text.split(",")})
    except ValueError:
        raise UsageError(f"--ladder is drop numbers such as 8,16,22,24; got {text!r}") from None
    if rungs[0] < 0 or r not in rungs[1:-1]:
        raise UsageError(
            f"--ladder must hold --r {r}, a smaller and a larger drop number, 0 or more; got {text}"
        )
    return tuple(rungs)


def _name(r: int) -> str:
    return f"r-{r}"


def _check_enough(source: str, promise: Promise, *, all_files: bool) -> None:
    """Refuses an input of too few videos before any work is done."""
    listing = Listing(source, all_files=all_files)
    found = sum(1 for _ in islice(listing.videos(), promise.videos_needed))
    promise.check(found, f"{source} has {found:,}")


def _demo_archive(sample: int) -> Path:
    """The manifest of an archive of scenes that neither the model nor the labelling job has seen.

    A smaller archive is the beginning of a larger one.
    """
    videos = min(sample, DEMO_VIDEOS)
    folder = _DEMO / f"calibration-{videos}"
    began = time.monotonic()

    def report(done: int) -> None:
        if done % 100 == 0 or done == videos:
            took = time.monotonic() - began
            print(f"made {done:,} of {videos:,} videos ({took:.0f} s)", file=sys.stderr, flush=True)

    settings = ArchiveSettings(videos=videos, seed=_DEMO_SEED)
    make_archive(folder, settings, processes=len(os.sched_getaffinity(0)), report=report)
    return folder / MANIFEST


def _command(arguments: argparse.Namespace, asked: _Request) -> str:
    """The labelling command that uses the policy, with every flag that it is bound to."""
    words = ["python", f"jobs/label_{arguments.task}.py"]
    if arguments.input is not None:
        words += ["INPUT", "OUTPUT"]
    if arguments.checkpoint is not None:
        words += ["--checkpoint", arguments.checkpoint]
    return shlex.join([*words, *binding(arguments), "--policy", asked.policy.uri])
