"""Two thousand videos through one decoder: it holds no more memory at the end than early on."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import videos

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
VIDEOS = 2000
EARLY = 200
GROWTH = 1.10

KINDS = {
    "b_frames.mp4": {"options": {"bf": "3", "g": "12"}},
    "fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "turned.mp4": {"rotation": 90},
    "open_groups.mkv": {"options": {"x264-params": "open-gop=1:keyint=10:bframes=3"}},
    "broadcast.ts": {"options": {"bf": "2"}},
    "h265.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=10"}},
    "vp8.webm": {"codec": "libvpx"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2"}},
}
SIZES = [(96, 128), (128, 96), (64, 64)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 files: 30 sound videos in ten formats and three sizes, 10 damaged or no videos at all."""
    folder = tmp_path_factory.mktemp("archive")
    for (name, settings), (height, width) in itertools.product(KINDS.items(), SIZES):
        path = folder / f"{width}x{height}-{name}"
        videos.write_video(path, frames=24 + height // 8, height=height, width=width, **settings)
    mp4, mkv, ts, avi = (
        folder / f"128x96-{name}"
        for name in ("b_frames.mp4", "open_groups.mkv", "broadcast.ts", "mpeg4.avi")
    )
    for whole in (mp4, mkv, ts, avi):
        videos.cut_off(whole, folder / f"cut-{whole.name}", share=0.7)
        videos.damaged(whole, folder / f"hit-{whole.name}", start=0.5, stop=0.6)
    (folder / "text.mp4").write_text("no video\n" * 50)
    videos.write_sound(folder / "sound.mp4")
    assert len(list(folder.iterdir())) == 40
    return folder


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("per_child", [1000, 10**9], ids=["by default", "never a fresh child"])
def test_memory_after_2000_videos_is_that_after_200(archive: Path, per_child: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.workers.many_videos", archive, str(VIDEOS),
         "--per-child", str(per_child)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert sum(result["outcomes"].values()) == VIDEOS
    assert result["outcomes"]["ok"] >= VIDEOS * 3 // 4
    assert len(result["outcomes"]) >= 4
    assert result["children"] == (2 if per_child < VIDEOS else 1)
    step = VIDEOS // len(result["memory"])
    for who, measured in zip(("actor", "child"), zip(*result["memory"], strict=True), strict=True):
        early, late = measured[EARLY // step - 1], measured[-1]
        assert late <= GROWTH * early, (who, early, late)
