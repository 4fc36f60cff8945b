"""Benchmark of the whole chain: what a video costs from its file to its label, way by way.

`chain_ways` labels the videos in one process. What the driver of a run takes is measured in runs
through Ray.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

import sta
from pipeline.early_exit import EarlyExitFile
from pipeline.errors import UsageError
from pipeline.flags import flag
from pipeline.inputs.demo.archive import MANIFEST, ArchiveSettings, make_archive
from pipeline.inputs.listing import Listing
from pipeline.inputs.manifest import MANIFEST_SCHEMA
from pipeline.lab.benchmark.chain_ways import COPIES, Chains, Cost, Way
from pipeline.lab.benchmark.paired import Spread, ratio
from pipeline.lab.benchmark.pipeline import DriverCost, PipelineBenchmark, driver_cost
from pipeline.lab.benchmark.report import Chart, Column, Report, Row, conditions
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import protocol_for, pruning_identity
from pipeline.labeling.pruning_flags import PruningFlags
from pipeline.storage.location import Location
from workers.decoding import DECODE_MODES, DECODERS
from workers.device_names import DeviceKind
from workers.inference.labeler import LabelerConfig
from workers.machine import usable_cores
from workers.precisions import Precision, fast_precision
from workers.sampling import Protocol, parse_views

EXACT, FAST = DECODE_MODES

# Of scenes that neither the demo model nor the calibration's archive has.
_SEED = 7

# A run through Ray of fewer units mostly starts and ends.
_DRIVER_UNITS = 96


@dataclass(frozen=True)
class VideoSet:
    """Videos of the demo's scenes, rendered in another size.

    Attributes:
        width, height: of a frame, in pixels.
        gop: largest number of frames between keyframes.
    """

    width: int
    height: int
    gop: int

    @classmethod
    def parse(cls, text: str) -> VideoSet:
        """The set that a text such as 1920x1080/250 names; ValueError for others."""
        size, _, gop = text.partition("/")
        width, _, height = size.partition("x")
        try:
            return cls(int(width), int(height), int(gop))
        except ValueError:
            raise ValueError(
                f"a set of videos is WIDTHxHEIGHT/GOP, such as 1920x1080/250; got {text!r}"
            ) from None

    def __str__(self) -> str:
        return f"{self.width}x{self.height}, GOP {self.gop}"

    def make(self, folder: Path, videos: int, seed: int) -> Path:
        """Makes the videos that are missing, and returns the path of their manifest."""
        settings = ArchiveSettings(
            videos=videos, seed=seed, width=self.width, height=self.height, gop=self.gop
        )
        place = folder / f"{self.width}x{self.height}-{self.gop}"
        make_archive(place, settings, processes=usable_cores())
        return place / MANIFEST


@dataclass(frozen=True)
class ChainBenchmark:
    """What is measured; each field is a flag."""

    sets: tuple[str, ...] = flag(
        "videos that are made of the demo's scenes: sizes of a frame, with the largest number of "
        "frames between keyframes",
        ("340x256/250", "1920x1080/60", "1920x1080/250"),
        metavar="WIDTHxHEIGHT/GOP",
    )
    source: str | None = flag(
        "directory or manifest of videos to measure on instead", None, metavar="INPUT"
    )
    videos: int = flag("number of videos of each set", 8, metavar="N")
    made: Path = flag("folder that keeps the videos that are made", Path("demo"), metavar="DIR")
    checkpoint: str = flag("as in the labeling jobs", "demo", metavar="C")
    r: int | None = flag("tokens dropped per frame (default: the model's own)", None, metavar="N")
    views: tuple[int, int] | None = flag(
        "clips x crops (default: the protocol's own)", None, metavar="CxS", type=parse_views
    )
    early_exit: tuple[str, ...] = flag(
        "files of jobs/calibrate.py, one for each decode mode; without one, no early exit is "
        "measured in this mode",
        (),
        metavar="FILE",
    )
    decoder: str = flag(
        "decoder of all ways but the first, which has PyAV's", DECODERS[0], choices=DECODERS
    )
    batch_size: int | None = flag(
        "views per forward pass (default: the device's)", None, metavar="N"
    )
    threads: int = flag("CPU threads of the model", 1, metavar="N")
    rounds: int = flag("how often each way is run", 3, metavar="N")
    driver: bool = flag(
        "leave out the runs through Ray that measure the driver", True, name="no-driver"
    )

    def __post_init__(self) -> None:
        for name in ("videos", "rounds", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more; got {getattr(self, name)}")
        for text in self.sets:
            VideoSet.parse(text)


def run_chain(options: ChainBenchmark, say: Callable[[str], None] = lambda line: None) -> Report:
    """Labels the same videos in every way, in turn.

    Raises:
        OutputsDiffer: a video fails, or a view has another score with early exit than without.
        UsageError, ValueError: the options do not fit each other.
    """
    kind: DeviceKind = "cuda" if torch.cuda.is_available() else "cpu"
    asked = LabelOptions(
        "k400", "", "", options.checkpoint, pruning=PruningFlags(r=options.r), views=options.views
    )
    model = sta.load_model(options.checkpoint)
    protocol = protocol_for(asked, model)
    pruning = asked.pruning.of(model.config)
    files = _early_exit_files(options, model, pruning, protocol, fast_precision(kind))
    ways = _ways(options.decoder, pruning, files, kind)
    labeler = LabelerConfig(
        options.checkpoint,
        batch_size=options.batch_size,
        device=kind,
        threads=options.threads if kind == "cpu" else None,
    )
    before = conditions(
        device=torch.cuda.get_device_name() if kind == "cuda" else "cpu",
        model=model.architecture,
        r=pruning.r,
        views_per_video=protocol.views,
        source=options.source,
        videos=options.videos,
        rounds=options.rounds,
        threads=options.threads,
        precision=fast_precision(kind),
        decoder=options.decoder,
        agreement={mode: file.agreement for mode, file in files.items()},
    )
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        sources = dict(_sources(options, say))
        drivers = _drivers(options, next(iter(sources.values())), files, Path(folder), say)
        for name, source in sources.items():
            manifest = _manifest(source, options.videos)
            chains = Chains(ways, labeler, protocol)
            with closing(chains):
                say(f"{name}: labeling {len(manifest)} videos in {len(ways)} ways and comparing")
                tables = chains.checked(manifest)
                say(f"{name}: {options.rounds} rounds")
                costs = chains.timed(manifest, options.rounds)
            rows += [_row(name, way, costs, tables, drivers) for way in ways]
    return _report(rows, before, on_gpu=kind == "cuda")


def _sources(options: ChainBenchmark, say: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    if options.source is not None:
        yield options.source, options.source
        return
    for each in map(VideoSet.parse, options.sets):
        say(f"{each}: making the videos that are missing in {options.made}")
        yield str(each), str(each.make(options.made, options.videos, seed=_SEED))


def _manifest(source: str, most: int) -> pa.Table:
    """The first videos, as rows of a run's manifest."""
    found = [video for video, _ in zip(Listing(source).videos(), range(most), strict=False)]
    rows = [
        {"unit_id": video.video_id, "video_id": video.video_id, "uri": video.uri} for video in found
    ]
    return pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)


def _early_exit_files(
    options: ChainBenchmark,
    model: sta.VideoModel,
    pruning: sta.Pruning,
    protocol: Protocol,
    precision: Precision,
) -> dict[str, EarlyExitFile]:
    """The early-exit files by decode mode.

    Raises:
        UsageError: one was fitted for another labeling, or two for one mode.
    """
    measured = {
        "model": model.fingerprint,
        "pruning": pruning_identity(pruning),
        "protocol": dataclasses.asdict(protocol),
        "precision": precision,
        "decoder": options.decoder,
    }
    files: dict[str, EarlyExitFile] = {}
    for place in options.early_exit:
        file = EarlyExitFile.read(Location.of(place))
        other = [name for name, value in measured.items() if getattr(file, name) != value]
        if other:
            raise UsageError(f"{place} was fitted for another {' and '.join(other)}")
        if file.decode in files:
            raise UsageError(f"{place} is a second file for --decode {file.decode}")
        files[file.decode] = file
    return files


def _ways(
    decoder: str, pruning: sta.Pruning, files: Mapping[str, EarlyExitFile], kind: DeviceKind
) -> list[Way]:
    """The ways, the reference first: a run without pruning and early exit.

    On a CPU the reference computes in float32, as all runs did before bfloat16.
    """
    fast = fast_precision(kind)
    unpruned: Precision = fast if kind == "cuda" else "float32"
    ways = [Way("unpruned, all views", sta.Pruning(r=0), unpruned)]
    for mode in DECODE_MODES if decoder == DECODERS[0] else (EXACT,):
        suffix = "" if mode == EXACT else f", {mode}"
        way = Way(f"pruned, all views{suffix}", pruning, fast, decoder, mode)
        ways.append(way)
        if mode in files:
            name = f"pruned, early exit{suffix}"
            ways.append(dataclasses.replace(way, name=name, early_exit=files[mode].early_exit))
    return ways


def _drivers(
    options: ChainBenchmark,
    source: str,
    files: Mapping[str, EarlyExitFile],
    folder: Path,
    say: Callable[[str], None],
) -> dict[bool, DriverCost]:
    """What the driver takes, without early exit (False) and with it (True)."""
    if not options.driver:
        return {}
    asked = PipelineBenchmark(
        source=source,
        videos=options.videos,
        passes=-(-_DRIVER_UNITS // options.videos),
        checkpoint=options.checkpoint,
        r=options.r,
        views=options.views,
    )
    say(f"measuring the driver: {asked.passes * asked.videos} units through Ray")
    costs = {False: driver_cost(asked, folder / "all", say)}
    if EXACT in files:
        place = next(
            place
            for place in options.early_exit
            if EarlyExitFile.read(Location.of(place)).decode == EXACT
        )
        with_exit = dataclasses.replace(asked, early_exit=place)
        costs[True] = driver_cost(with_exit, folder / "early-exit", say)
    return costs


def _row(
    name: str,
    way: Way,
    costs: Mapping[str, Sequence[Cost]],
    tables: Mapping[str, pa.Table],
    drivers: Mapping[bool, DriverCost],
) -> Row:
    reference, own = next(iter(costs.values())), costs[way.name]
    rows = tables[way.name].to_pylist()
    labels = {row["unit_id"]: row["label"] for row in next(iter(tables.values())).to_pylist()}

    def driver_s(early_exit: bool) -> float:
        found = drivers.get(early_exit, drivers.get(False))
        return 0.0 if found is None else found.per_unit_s

    driver, plain = driver_s(way.early_exit is not None), driver_s(False)
    total = [cost.core_s + driver for cost in own]
    whole = [cost.core_s + plain for cost in reference]
    on_gpu = any(cost.device_s for cost in reference)
    return {
        "set": name,
        "way": way.name,
        "decode": _ms([cost.decode_s for cost in own]),
        "label": _ms([cost.label_s for cost in own]),
        "device": _ms([cost.device_s for cost in own]) if on_gpu else None,
        "driver": driver * 1e3 if drivers else None,
        "total": _ms(total),
        "of_decode": ratio(*([c.decode_s for c in each] for each in (own, reference))),
        "of_label": ratio(
            *([c.device_s if on_gpu else c.label_s for c in each] for each in (own, reference))
        ),
        "of_total": ratio(total, whole),
        "kilobytes": sum(row["bytes_read"] for row in rows) / len(rows) / 1e3,
        "views": sum(len(row["views"]) for row in rows) / len(rows),
        "clips": sum(len({v["clip"] for v in row["views"]}) for row in rows) / len(rows),
        "agree": sum(row["label"] == labels[row["unit_id"]] for row in rows) / len(rows),
    }


def _ms(seconds: Sequence[float]) -> Spread:
    return Spread.of([each * 1e3 for each in seconds])


_COLUMNS = (
    Column("set", "videos", "what was labeled"),
    Column("way", "way", "how it was labeled"),
    Column("decode", "decode", "CPU ms per video of decoders and their children", ".0f"),
    Column("label", "label", "CPU ms per video of labelers", ".0f"),
    Column("device", "GPU", "GPU ms per video", ".2f"),
    Column("driver", "driver", "CPU ms per video of a run's driver", ".1f"),
    Column("total", "CPU ms", "CPU ms per video of all these", ".0f"),
    Column("of_decode", "x decode", "decoding over the first way's, round by round", ".3f"),
    Column(
        "of_label",
        "x label",
        "labeling over the first way's, round by round: of a GPU, its time",
        ".3f",
    ),
    Column("of_total", "x all", "CPU time of all over the first way's, round by round", ".3f"),
    Column("kilobytes", "kB", "kilobytes read per video", ".0f"),
    Column("views", "views", "views evaluated per video", ".1f"),
    Column("clips", "clips", "clips evaluated per video", ".1f"),
    Column("agree", "same label", "share of the videos with the label of the first way", ".2f"),
)


def _report(rows: Sequence[Row], before: Mapping[str, Any], *, on_gpu: bool) -> Report:
    notes = [
        f"{before['model']}, r = {before['r']}, {before['views_per_video']} views, "
        f"{before['videos']} videos of each set; median (quartiles) of {before['rounds']} rounds "
        f"in turn. The first way computes in {'bfloat16' if on_gpu else 'float32'}, the others in "
        f"{before['precision']}.",
        f"With early exit a call of the labeler holds each video {COPIES} times, decoded once.",
    ]
    if before["source"] is None:
        notes.append(
            "The videos are made: H.264 by x264's veryfast at crf 23, 8 to 10 s, 25 or 30 frames a "
            "second."
        )
    for mode, agreement in before["agreement"].items():
        notes.append(f"Early exit, --decode {mode}: the file guarantees {agreement:.1%}.")
    if len(before["agreement"]) < len(DECODE_MODES):
        notes.append(
            "Early exit is measured for the decode modes of the files of --early-exit alone, which "
            "jobs/calibrate.py writes."
        )
    columns = [each for each in _COLUMNS if any(row[each.name] is not None for row in rows)]
    return Report(
        part="chain",
        title="CPU time per video, from its file to its label, over unpruned labeling by all views",
        columns=columns,
        rows=rows,
        conditions=before,
        chart=Chart(
            bar="of_total",
            axis="CPU time over that of unpruned labeling by all views, decoded exactly",
            labels=("set", "way"),
        ),
        notes=notes,
    )
