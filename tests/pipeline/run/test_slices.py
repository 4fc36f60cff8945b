"""Slices for several drivers: each missing unit is in one of them, and they are equally large."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.run.slices import Slice, slice_numbers, slices_of_missing
from pipeline.storage.location import Location


def ids(count):
    return [hashlib.sha256(str(number).encode()).hexdigest()[:24] for number in range(count)]


@pytest.fixture
def folders(tmp_path):
    """(manifest, units), and what writes ids to a file of either."""
    places = []
    for name in ("manifest", "units"):
        (tmp_path / name).mkdir()
        places.append(Location.of(str(tmp_path / name)))

    def write(place, values):
        number = len(place.files(".parquet"))
        table = pa.table({"unit_id": pa.array(values, pa.string())})
        pq.write_table(table, f"{place.uri}/{number}.parquet")

    return *places, write


def sizes(slices, unit_ids):
    """Units in each slice; every unit is in one."""
    numbers = slice_numbers(unit_ids, slices)
    assert all(numbers >= 0)
    return [int((numbers == each.number).sum()) for each in slices]


@pytest.mark.parametrize("done", [0, 1, 300, 999])
@pytest.mark.parametrize("most", [1, 2, 3, 16])
def test_what_is_missing_is_divided_equally_whatever_is_done(folders, done, most):
    manifest, units, write = folders
    every = ids(1000)
    write(manifest, every[:600])
    write(manifest, every[600:])
    if done:
        write(units, sorted(every)[:done])  # one driver was done and the others were not
    slices = slices_of_missing(manifest, units, most=most, least=10)
    missing = sorted(every)[done:]
    found = sizes(slices, missing)
    assert len(slices) == max(1, min(most, len(missing) // 10))
    assert sum(found) == len(missing)
    assert max(found) - min(found) <= 1


def test_a_slice_is_divided_within_its_bounds(folders):
    manifest, units, write = folders
    write(manifest, ids(1000))
    within = Slice(3, "400000000000", "c00000000000")
    slices = slices_of_missing(manifest, units, most=4, least=1, within=within)
    assert (slices[0].low, slices[-1].high) == (within.low, within.high)
    inside = [each for each in ids(1000) if within.low <= each < within.high]
    found = sizes(slices, inside)
    assert len(slices) == 4
    assert max(found) - min(found) <= 1


def test_a_run_without_units_is_one_slice(folders):
    manifest, units, _ = folders
    assert [(each.low, each.high) for each in slices_of_missing(manifest, units, most=4, least=1)] \
        == [("000000000000", None)]  # fmt: skip
