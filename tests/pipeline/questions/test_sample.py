"""The sample of a round: random units of each group, and every larger sample holds the smaller."""

import numpy as np

from pipeline.inputs.manifest import unit_id, write_manifest
from pipeline.inputs.video import Video
from pipeline.questions.columns import PREFIX, Groups, groups_of, values_of
from pipeline.questions.rounds import Sizes
from pipeline.questions.sample import ALL, Limits, Manifest, limit_of, limits
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location

NAMES = [f"{'a' if number % 10 else 'b'}/{number:05d}.mp4" for number in range(20_000)]


def archive(tmp_path):
    """(run, groups) of 18,000 videos in folder a and 2,000 in folder b."""
    run = RunDirectory(Location.of(str(tmp_path)))
    write_manifest((Video(name, f"/x/{name}") for name in NAMES), run.manifest)
    return run, groups_of(run, values_of(None, PREFIX))


def test_a_limit_takes_about_as_many_units_as_asked_and_all_at_the_end():
    ids = [unit_id(name) for name in NAMES]
    for count in (20, 200, 2_000, 19_999):
        found = sum(each < limit_of(count, len(ids)) for each in ids)
        assert abs(found - count) < 5 * np.sqrt(count)
    assert limit_of(20_000, 20_000) == limit_of(30_000, 20_000) == ALL
    assert all(each < ALL for each in ids)


def test_a_small_group_has_units_beyond_its_part_of_all(tmp_path):
    run, groups = archive(tmp_path)
    assert groups.units == (18_000, 2_000)
    sizes = Sizes(groups.units, 1_000, 0, (0, 1_000), (0, 0))
    sample, _ = limits(sizes)
    rows = Manifest(run, groups).drawn(sample)
    names = rows["video_id"].to_pylist()
    of_b = sum(name.startswith("b/") for name in names)
    assert 800 < len(names) - of_b < 1_000
    assert 900 < of_b < 1_100


def test_a_larger_sample_holds_the_smaller_one(tmp_path):
    run, groups = archive(tmp_path)
    before: set[str] = set()
    for count in (10, 100, 5_000, 20_000):
        sample, _ = limits(Sizes(groups.units, count, 0, (0, count // 2), (0, 0)))
        found = set(Manifest(run, groups).drawn(sample)["unit_id"].to_pylist())
        assert before <= found
        before = found
    assert len(before) == 20_000


def test_samples_of_the_same_ids_by_their_first_and_last_digits_are_independent(tmp_path):
    run, groups = archive(tmp_path)
    sizes = Sizes(groups.units, 4_000, 0, (0, 0), (0, 0))
    found = [
        set(Manifest(run, groups).drawn(limits(sizes, by_last=by_last)[0])["unit_id"].to_pylist())
        for by_last in (False, True)
    ]
    for each in found:
        assert abs(len(each) - 4_000) < 300
    # A fifth of a fifth of all.
    assert abs(len(found[0] & found[1]) - 800) < 150


def test_a_larger_sample_by_the_last_digits_holds_the_smaller_one(tmp_path):
    run, groups = archive(tmp_path)
    before: set[str] = set()
    for count in (100, 20_000):
        sample, _ = limits(Sizes(groups.units, count, 0, (0, 0), (0, 0)), by_last=True)
        found = set(Manifest(run, groups).drawn(sample)["unit_id"].to_pylist())
        assert before < found
        before = found


def test_the_next_rounds_are_drawn_without_reading_the_manifest_again(tmp_path):
    run, groups = archive(tmp_path)
    manifest = Manifest(run, groups)

    def sample(count, of_b):
        return limits(Sizes(groups.units, count, 0, (0, of_b), (0, 0)))[0]

    manifest.drawn(sample(100, 200))
    expected = Manifest(run, groups).drawn(sample(340, 500))
    for file in run.manifest.files(".parquet"):
        file.delete()
    assert manifest.drawn(sample(340, 500)).equals(expected)
    assert manifest.drawn(sample(50, 0)).num_rows < 100
    assert manifest.drawn(sample(1_000, 900)).num_rows == 0


def test_a_sample_may_be_empty(tmp_path):
    run, groups = archive(tmp_path)
    lowest = "0" * 12
    assert Manifest(run, groups).drawn(Limits(lowest, (lowest, lowest))).num_rows == 0


def test_one_group_of_everything_is_below_the_limit_of_all(tmp_path):
    run, _ = archive(tmp_path)
    groups = groups_of(run, None)
    assert isinstance(groups, Groups)
    sample, _ = limits(Sizes(groups.units, 500, 0, (0,), (0,)))
    assert sample.groups == (sample.every,)
    ids = np.array([unit_id(name) for name in NAMES], np.bytes_)
    held = sample.hold(ids, np.zeros(len(ids), np.int64))
    assert held.sum() == (ids < sample.every.encode()).sum()
    assert held.sum() == Manifest(run, groups).drawn(sample).num_rows
