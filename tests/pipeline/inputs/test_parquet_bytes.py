"""Parquet tables with videos in a column of bytes, as datasets, pyarrow and polars write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.listing import Listing
from pipeline.inputs.manifest import write_manifest
from pipeline.inputs.video import Video
from pipeline.storage.location import Location
from tests import videos
from workers.failures import UnitFailure
from workers.io import parquet_part
from workers.io.fetching import open_source

VIDEO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def found(source: object, **options: Any) -> list[Video]:
    listing = Listing(str(source), lists=ListOptions(**options))
    listed = list(listing.videos())
    assert listing.is_list
    return listed


def content(video: Video) -> bytes:
    with open_source(video.uri, part=video.part, etag=video.etag) as source:
        return source.read_at(0, source.size)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("videos")
    return [videos.write_video(folder / f"{n}.mp4", frames=20 + n) for n in range(5)]


@pytest.fixture
def dataset(files: list[Path]) -> datasets.Dataset:
    columns = {"video": list(map(str, files)), "label": [0, 1, 2, 1, 0], "split": ["test"] * 5}
    table = datasets.Dataset.from_dict(columns)
    names = datasets.ClassLabel(names=["jump", "run", "sit"])
    return table.cast_column("video", datasets.Video()).cast_column("label", names)


def test_a_file_of_datasets_gives_ranges_of_bytes_and_names_of_classes(
    tmp_path: Path, dataset: datasets.Dataset, files: list[Path]
) -> None:
    path = tmp_path / "train-00000-of-00001.parquet"
    embedded = dataset.with_format("arrow").map(
        datasets.table.embed_table_storage, batched=True, batch_size=2
    )
    embedded.with_format(None).to_parquet(path)
    listed = found(path)
    assert [video.ground_truth for video in listed] == ["jump", "run", "sit", "run", "jump"]
    assert [video.video_id for video in listed] == [f"{path.name}/{file.name}" for file in files]
    assert [video.size_bytes for video in listed] == [file.stat().st_size for file in files]
    assert all((video.part or "").startswith("bytes:") for video in listed)
    assert list(map(content, listed)) == [file.read_bytes() for file in files]


@pytest.mark.parametrize("writer", [{"compression": "none"}, {"compression": "snappy"}])
@pytest.mark.parametrize("kind", ["struct", "plain", "large"])
def test_files_of_pyarrow_give_the_videos_of_their_rows(
    tmp_path: Path, files: list[Path], writer: dict[str, Any], kind: str
) -> None:
    values: list[Any] = [file.read_bytes() for file in files]
    if kind == "struct":
        column = pa.array([{"bytes": value, "path": "same.mp4"} for value in values], VIDEO)
    else:
        column = pa.array(values, pa.binary() if kind == "plain" else pa.large_binary())
    for number in range(2):
        path = tmp_path / "data" / f"{number}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"Video": column}), path, row_group_size=2, **writer)
    listed = found(tmp_path)
    ids = [f"data/{number}.parquet/{row}" for number in range(2) for row in range(5)]
    assert [video.video_id for video in listed] == ids
    assert list(map(content, listed)) == 2 * values


def test_files_of_polars_give_the_videos_of_their_rows(tmp_path: Path, files: list[Path]) -> None:
    values = [file.read_bytes() for file in files]
    frame = polars.DataFrame({"mp4": values, "label": ["a", "b", "c", "d", "e"]})
    frame.write_parquet(tmp_path / "x.parquet", row_group_size=3)
    listed = found(tmp_path / "x.parquet")
    assert list(map(content, listed)) == values
    assert [video.ground_truth for video in listed] == ["a", "b", "c", "d", "e"]


def test_rows_without_bytes_are_addresses_and_those_with_neither_have_a_reason(
    tmp_path: Path, files: list[Path]
) -> None:
    rows = [
        {"bytes": files[0].read_bytes(), "path": "a.mp4"},
        {"bytes": None, "path": "videos/b.mp4"},
        {"bytes": None, "path": "s3://bucket/c.mp4"},
        {"bytes": None, "path": None},
        None,
    ]
    pq.write_table(pa.table({"clip": pa.array(rows, VIDEO)}), tmp_path / "x.parquet")
    first, second, third, *neither = found(tmp_path / "x.parquet")
    assert content(first) == files[0].read_bytes()
    assert (second.uri, second.part) == (str(tmp_path / "videos/b.mp4"), None)
    assert (third.uri, third.part) == ("s3://bucket/c.mp4", None)
    for video in neither:
        with pytest.raises(UnitFailure, match="the row has no clip.bytes"):
            content(video)


def test_rows_of_a_compressed_page_stay_together_in_the_manifest(tmp_path: Path) -> None:
    rows = {"mp4": [bytes([number]) * 50 for number in range(200)]}
    for number in range(2):
        pq.write_table(pa.table(rows), tmp_path / f"{number}.parquet", row_group_size=40)
    write_manifest(found(tmp_path), Location(str(tmp_path / "manifest")))
    (file,) = Location(str(tmp_path / "manifest")).files(".parquet")
    parts = pq.read_table(file.uri, partitioning=None)["part"].to_pylist()
    assert parts == [f"parquet:{n // 40}/{n % 40}/mp4" for n in range(200)] * 2


def test_no_page_is_read_for_a_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"mp4": [b"x" * 500] * 20}), tmp_path / "x.parquet")
    read: list[object] = []
    monkeypatch.setattr(parquet_part, "_page", lambda *of: read.append(of))
    assert len(list(Listing(str(tmp_path / "x.parquet"), all_files=True).videos())) == 20
    assert read == []


def test_the_column_is_chosen_by_its_kind_or_by_the_flag(tmp_path: Path, files: list[Path]) -> None:
    values = [file.read_bytes() for file in files]
    structs = pa.array([{"bytes": value, "path": None} for value in values], VIDEO)
    table = pa.table({"video": structs, "mp4": values, "thumbnail": values, "uri": ["a.mp4"] * 5})
    path = tmp_path / "x.parquet"
    pq.write_table(table, path)
    with pytest.raises(UsageError, match="2 columns of bytes: video, mp4; choose one by"):
        found(path)
    for name, leaf in (("video", "video.bytes"), ("mp4", "mp4"), ("thumbnail", "thumbnail")):
        listed = found(path, uri_column=name)
        assert [video.part for video in listed] == [f"parquet:0/{row}/{leaf}" for row in range(5)]
    assert found(path, uri_column="uri")[0].uri == str(tmp_path / "a.mp4")


def test_pictures_of_datasets_are_no_videos(
    tmp_path: Path, dataset: datasets.Dataset, files: list[Path]
) -> None:
    pictures = [{"bytes": b"x", "path": None}] * 5
    both = dataset.add_column("image", pictures).cast_column("image", datasets.Image(decode=False))
    both.to_parquet(tmp_path / "x.parquet")
    assert [video.uri for video in found(tmp_path / "x.parquet")] == list(map(str, files))


def test_an_object_is_pinned_to_its_version(tmp_path: Path, s3: Any, files: list[Path]) -> None:
    values = [file.read_bytes() * 40 for file in files]
    column = pa.array([{"bytes": value, "path": None} for value in values], VIDEO)
    path = tmp_path / "x.parquet"
    pq.write_table(
        pa.table({"video": column, "label": [1] * 5}), path,
        compression="none", use_dictionary=False, row_group_size=3,
    )  # fmt: skip
    s3.create_bucket(Bucket="tables")
    s3.upload_file(str(path), "tables", "some/x.parquet")
    for source in ("s3://tables/some", "s3://tables/some/x.parquet"):
        listed = found(source)
        assert [video.size_bytes for video in listed] == list(map(len, values))
        assert all(video.etag for video in listed)
        assert content(listed[-1]) == values[-1]
        assert listed[3].video_id == "x.parquet/3"
    s3.put_object(Bucket="tables", Key="some/x.parquet", Body=path.read_bytes() + b"!")
    with pytest.raises(UnitFailure, match="changed"):
        content(listed[0])
