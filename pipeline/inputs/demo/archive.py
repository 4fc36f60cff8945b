"""The demo archive on disk: H.264 videos, a manifest and the list of labels."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from pipeline.inputs.demo.scenes import HEIGHT, LABELS, SPLITS, WIDTH, Scene, draw_scene, render
from pipeline.messages import say
from workers.sampling import protocol

Work = TypeVar("Work")
Result = TypeVar("Result")

DEMO = Path("demo")
"""Default folder of the demo."""

MANIFEST = "manifest.csv"
LABEL_FILE = "labels.txt"

# About half a minute of one process.
_SAY_EVERY = 100

# x264's AVX-512 code reads uninitialized memory, so that its files differ from call to call.
_REPEATABLE = {"x264-params": "asm=sse4"}

X264_GOP = 250
"""x264's own largest number of frames from one keyframe to the next."""

SAMPLE_EVERY = 4
"""The demo model sees every fourth frame, as VideoMAE does on Kinetics-400."""


@dataclass(frozen=True)
class ArchiveSettings:
    """What to generate.

    Attributes:
        videos: number of videos. Labels repeat in order, so a multiple of the number of labels is
            balanced.
        seed: seed of every scene, together with the split and the video's number.
        split: "train" or "test"; the same seed gives different scenes in the two.
        crf: x264's constant rate factor; larger is smaller and coarser.
        width, height: frame size in pixels.
        gop: largest number of frames from one keyframe to the next.
    """

    videos: int
    seed: int = 0
    split: str = "test"
    crf: int = 23
    width: int = WIDTH
    height: int = HEIGHT
    gop: int = X264_GOP

    def __post_init__(self) -> None:
        if self.videos < 1:
            raise ValueError(f"videos must be at least 1, not {self.videos}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {self.split!r}")
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf must be between 0 and 51, not {self.crf}")
        if self.width % 2 or self.height % 2 or min(self.width, self.height) < 2:
            raise ValueError(
                f"width and height must be even and 2 or more, not {self.width} x {self.height}"
            )
        if self.gop < 1:
            raise ValueError(f"gop must be at least 1, not {self.gop}")


@dataclass(frozen=True)
class Entry:
    """One line of the manifest: where the video is, its id, and its ground truth."""

    uri: str
    video_id: str
    label: str


def make_archive(
    folder: Path,
    settings: ArchiveSettings,
    *,
    processes: int = 1,
    report: Callable[[int, int], None] | None = None,
) -> list[Entry]:
    """Write the videos, then ``labels.txt`` and ``manifest.csv``; returns the manifest.

    Existing videos are kept, since a file's name determines its pixels. Files appear whole or not
    at all, so that the next call continues an interrupted one. URIs in the manifest are file names,
    relative to the manifest.

    Args:
        folder: folder of the archive; created if missing.
        settings: what to generate.
        processes: number of processes that render and encode; 1 stays in this process.
        report: called with the numbers of videos made and to make, before the first and after each.
            Existing videos do not count; if none is missing, it is not called.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = [(folder, settings, index) for index in range(settings.videos)]
    missing = [not _path(folder, settings, index).exists() for index in range(settings.videos)]
    report = report if any(missing) else None
    entries: list[Entry] = []
    if report is not None:
        report(0, sum(missing))
    for entry in _mapped(_make_one, work, processes):
        entries.append(entry)
        if report is not None and missing[len(entries) - 1]:
            report(sum(missing[: len(entries)]), sum(missing))
    (folder / LABEL_FILE).write_text("".join(f"{label}\n" for label in LABELS), encoding="utf-8")
    with (folder / MANIFEST).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["uri", "video_id", "label"])
        writer.writerows([entry.uri, entry.video_id, entry.label] for entry in entries)
    return entries


def demo_archive(name: str, settings: ArchiveSettings, *, processes: int = 1) -> Path:
    """Makes the missing videos of an archive in `DEMO` and returns the path of its manifest.

    Progress goes to stderr if videos are missing.

    Args:
        name: name of the archive's folder.
        settings: what to generate.
        processes: number of processes that render and encode.
    """
    folder = DEMO / name

    def report(made: int, missing: int) -> None:
        if not made:
            say(f"Making {missing:,} demo videos in {folder}.")
        elif made % _SAY_EVERY == 0 and made < missing:
            say(f"Made {made:,} of {missing:,}.")

    make_archive(folder, settings, processes=processes, report=report)
    return folder / MANIFEST


def _path(folder: Path, settings: ArchiveSettings, index: int) -> Path:
    name = f"{settings.split}-{settings.seed}-{index:05d}"
    if (settings.width, settings.height, settings.gop) != (WIDTH, HEIGHT, X264_GOP):
        name += f"-{settings.width}x{settings.height}-g{settings.gop}"
    return folder / f"{name}.mp4"


def _mapped(
    function: Callable[[Work], Result], work: Sequence[Work], processes: int
) -> Iterator[Result]:
    if processes <= 1:
        yield from map(function, work)
        return
    # Threads of torch do not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(function, work, chunksize=4)


def _make_one(work: tuple[Path, ArchiveSettings, int]) -> Entry:
    folder, settings, index = work
    scene = draw_scene(seed=settings.seed, split=settings.split, index=index)
    path = _path(folder, settings, index)
    if not path.exists():
        partial = path.with_name(f".{path.stem}.{os.getpid()}.partial")
        write_video(partial, scene, settings)
        partial.replace(path)
    return Entry(path.name, path.stem, scene.label)


def write_video(path: Path, scene: Scene, settings: ArchiveSettings) -> None:
    """Render a scene into an mp4 file: H.264, yuv420p, the scene's own frame rate.

    The same scene gives the same file on the same machine.
    """
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=scene.fps)
        stream.width, stream.height, stream.pix_fmt = settings.width, settings.height, "yuv420p"
        stream.options = {
            "preset": "veryfast",
            "crf": str(settings.crf),
            "g": str(settings.gop),
            "threads": "1",
        } | _REPEATABLE
        for picture in render(scene, width=settings.width, height=settings.height):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def read_manifest(folder: Path) -> list[Entry]:
    """The manifest of an archive made by ``make_archive``.

    Raises:
        FileNotFoundError: there is none.
    """
    with (folder / MANIFEST).open(newline="", encoding="utf-8") as file:
        return [Entry(row["uri"], row["video_id"], row["label"]) for row in csv.DictReader(file)]


def read_sampled(path: Path, *, size: int) -> NDArray[np.uint8]:
    """Every fourth frame of a video, short side ``size``: (m, H, W, 3) uint8 RGB.

    Resized as in the ``videomae-k400`` protocol: bilinear, without antialiasing.
    """
    pictures = []
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % SAMPLE_EVERY == 0:
                pictures.append(frame.to_ndarray(format="rgb24"))
    height, width = protocol("videomae-k400", size=size).resized(*pictures[0].shape[:2])
    planes = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
    resized = F.interpolate(planes, size=(height, width), mode="bilinear", align_corners=False)
    return resized.round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def read_archive(
    folder: Path, *, size: int, processes: int = 1
) -> Iterable[tuple[NDArray[np.uint8], int]]:
    """All videos of an archive, sampled and resized, each with its label's index."""
    work = [(folder / entry.uri, entry.label, size) for entry in read_manifest(folder)]
    return _mapped(_read_one, work, processes)


def _read_one(work: tuple[Path, str, int]) -> tuple[NDArray[np.uint8], int]:
    path, label, size = work
    # One thread per process: the processes already fill the cores.
    torch.set_num_threads(1)
    return read_sampled(path, size=size), LABELS.index(label)
