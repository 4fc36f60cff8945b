"""A real run that stores embeddings, over videos of which some are copies of others."""

from __future__ import annotations

import shutil
from pathlib import Path

import av

import sta
from pipeline.inputs.demo.archive import ArchiveSettings, make_archive
from pipeline.inputs.video import Video
from pipeline.run.run_directory import RunDirectory
from tests.pipeline.token_runs import Recipe, make_run
from workers.sampling import Protocol

_WEIGHTS = Path(sta.__file__).parent / "weights" / "vit_demo.safetensors"

RECIPE = Recipe(
    "vit_demo",
    Protocol("videomae-k400", clips=2, crops=1, size=112),
    sta.Pruning(r=22),
    checkpoint=_WEIGHTS,
    embeddings=True,
)


def searched_run(folder: Path, videos: int = 6) -> RunDirectory:
    """A finished run over demo videos, "copy" of the first and "encoded-again" of the second."""
    archive = folder / "archive"
    made = make_archive(archive, ArchiveSettings(videos=videos))
    files = [archive / entry.uri for entry in made]
    shutil.copy(files[0], archive / "copy.mp4")
    encode_again(files[1], archive / "encoded-again.mp4")
    files += [archive / "copy.mp4", archive / "encoded-again.mp4"]
    run = make_run(folder / "run", [Video(each.stem, str(each)) for each in files], RECIPE)
    run.success.write_bytes(b"")
    return run


def encode_again(source: Path, target: Path, crf: int = 34) -> None:
    """The same frames at a lower quality."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = reader.streams.video[0]
        out = writer.add_stream("libx264", rate=stream.average_rate, options={"crf": str(crf)})
        out.width, out.height, out.pix_fmt = stream.width, stream.height, "yuv420p"
        out.codec_context.thread_count = 1
        for frame in reader.decode(stream):
            writer.mux(out.encode(av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"))))
        writer.mux(out.encode(None))
