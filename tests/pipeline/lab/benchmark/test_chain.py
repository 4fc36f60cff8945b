"""The chain's benchmark: ways agree before they are timed, and each is paid for what it does."""

import pyarrow as pa
import pytest

from pipeline.errors import UsageError
from pipeline.lab.benchmark.chain import ChainBenchmark, VideoSet, run_chain
from pipeline.lab.benchmark.chain_ways import check_views
from pipeline.lab.benchmark.paired import OutputsDiffer
from pipeline.lab.benchmark.report import save
from tests.early_exit_files import write_early_exit
from tests.videos import write_video


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number in range(2):
        write_video(folder / f"{number}.mp4", frames=90, options={"g": "12"})
    return folder


def options(videos, checkpoint, *files, **more):
    return ChainBenchmark(
        source=str(videos), videos=2, checkpoint=str(checkpoint), early_exit=tuple(map(str, files)),
        rounds=1, driver=False, **more,
    )  # fmt: skip


@pytest.mark.slow
def test_every_way_is_measured_and_early_exit_pays_for_its_views_alone(
    videos, random_checkpoint, tmp_path
):
    file = write_early_exit(
        tmp_path / "a.json", 0.0, source=videos, checkpoint=random_checkpoint, views=1.0
    )
    report = run_chain(options(videos, random_checkpoint, file))
    rows = {row["way"]: row for row in report.rows}
    assert list(rows) == [
        "unpruned, all views",
        "pruned, all views",
        "pruned, early exit",
        "pruned, all views, fast",
    ]
    first = next(iter(rows.values()))
    assert (first["of_total"].median, first["agree"]) == (1.0, 1.0)
    for row in rows.values():
        early = "early exit" in row["way"]
        assert row["views"] == (1.0 if early else 15.0)
        assert row["decode"].median > 0
        assert row["label"].median > 0
        assert row["kilobytes"] > 0
    assert rows["pruned, early exit"]["of_total"].median < 1
    assert "the decode modes of the files of --early-exit alone" in report.text()
    assert {each.suffix for each in save(report, tmp_path / "out")} >= {".json", ".svg"}


def test_files_for_other_labelings_and_two_for_one_mode_are_refused(
    videos, random_checkpoint, tmp_path
):
    made = {"source": videos, "checkpoint": random_checkpoint}
    other = write_early_exit(tmp_path / "other.json", 0.3, r=5, **made)
    with pytest.raises(UsageError, match=r"other\.json was fitted for another pruning"):
        run_chain(options(videos, random_checkpoint, other))
    one, two = (write_early_exit(tmp_path / f"{n}.json", 0.3, **made) for n in "ab")
    with pytest.raises(UsageError, match=r"b\.json is a second file for --decode exact"):
        run_chain(options(videos, random_checkpoint, one, two))


@pytest.mark.slow
def test_a_video_that_fails_is_named_and_nothing_is_timed(random_checkpoint, tmp_path):
    (tmp_path / "broken.mp4").write_text("no video")
    with pytest.raises(OutputsDiffer, match=r"unpruned, all views: .*broken\.mp4 failed"):
        run_chain(options(tmp_path, random_checkpoint, views=(1, 1)))


def test_a_view_with_another_score_is_told_with_its_place():
    view = {"clip": 2, "crop": 1, "score": 0.5}
    row = {"unit_id": "0-a", "video_id": "a", "views": [view]}
    whole = pa.Table.from_pylist([row])
    check_views("way", whole, whole)
    off = pa.Table.from_pylist([row | {"views": [view | {"score": 0.6}]}])
    with pytest.raises(OutputsDiffer, match=r"way: a, clip 2, crop 1 .* 0\.600.* 0\.500"):
        check_views("way", off, whole)


def test_a_set_of_videos_is_a_size_and_a_distance_of_keyframes(tmp_path):
    assert VideoSet.parse("1920x1080/60") == VideoSet(1920, 1080, 60)
    made = VideoSet.parse("64x48/30").make(tmp_path, 1, seed=3)
    assert [path.name for path in made.parent.glob("*.mp4")] == ["test-3-00000-64x48-g30.mp4"]
    for text in ("1920x1080", "1080p/60", "1920x1080/often"):
        with pytest.raises(ValueError, match="WIDTHxHEIGHT/GOP"):
            ChainBenchmark(sets=(text,))


@pytest.mark.parametrize("name", ["videos", "rounds", "threads"])
def test_nothing_is_measured_of_nothing(name):
    with pytest.raises(ValueError, match=f"{name} must be 1 or more"):
        ChainBenchmark(**{name: 0})
