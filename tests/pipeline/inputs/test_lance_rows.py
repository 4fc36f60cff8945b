"""Lance tables as inputs, written by lance: a column of bytes, of blobs, or of addresses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.listing import Listing
from pipeline.inputs.video import Video
from tests import videos
from workers.failures import ErrorType, UnitFailure
from workers.io.fetching import open_source

BLOB = pa.field("video", pa.large_binary(), metadata={"lance-encoding:blob": "true"})


def found(source: object, **options: Any) -> list[Video]:
    return list(Listing(str(source), lists=ListOptions(**options)).videos())


def content(video: Video) -> bytes:
    with open_source(video.uri, part=video.part) as source:
        return source.read_at(0, source.size)


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("videos")
    paths = [videos.write_video(folder / f"{n}.mp4", frames=20 + n) for n in range(4)]
    return [path.read_bytes() for path in paths]


@pytest.mark.parametrize("field", [pa.field("video", pa.binary()), BLOB], ids=["bytes", "blobs"])
def test_rows_with_bytes_are_videos_of_the_listed_version(
    tmp_path: Path, values: list[bytes], field: pa.Field
) -> None:
    columns = [pa.array([*values, None], field.type), pa.array(["a", "b", "c", "d", "e"])]
    table = pa.table(columns, schema=pa.schema([field, pa.field("label", pa.string())]))
    path = tmp_path / "clips.lance"
    lance.write_dataset(table, path, max_rows_per_file=2)
    listed = found(path)
    assert [video.video_id for video in listed] == [f"clips.lance/{row}" for row in range(5)]
    assert [video.ground_truth for video in listed] == ["a", "b", "c", "d", "e"]
    assert listed[3].part == "lance:1/3/video"
    lance.write_dataset(table.slice(2), path, mode="overwrite")
    assert [content(video) for video in listed[:4]] == values
    with pytest.raises(UnitFailure, match="the row has no video"):
        content(listed[4])
    assert [video.part for video in found(path)] == [f"lance:2/{row}/video" for row in range(3)]


def test_a_column_of_addresses_is_a_list(tmp_path: Path) -> None:
    table = pa.table(
        {"path": ["v/a.mp4", "s3://bucket/b.mp4"], "label": [3, 4], "thumb": [b"", b""]}
    )
    lance.write_dataset(table, tmp_path / "clips.lance")
    listed = found(tmp_path / "clips.lance")
    assert [video.uri for video in listed] == [f"{tmp_path}/v/a.mp4", "s3://bucket/b.mp4"]
    assert [video.ground_truth for video in listed] == ["3", "4"]
    assert found(tmp_path / "clips.lance", uri_column="thumb")[0].part == "lance:1/0/thumb"


def test_a_table_of_object_storage_is_read(s3: Any, values: list[bytes]) -> None:
    from sta.transport.aws import library_options

    s3.create_bucket(Bucket="lance-tables")
    uri = "s3://lance-tables/some/clips.lance"
    table = pa.table({"video": values})
    lance.write_dataset(table, uri, storage_options=library_options(uri))
    assert [content(video) for video in found(uri)] == values


def test_what_is_no_table_and_rows_that_are_gone_have_a_reason(
    tmp_path: Path, values: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="there is no Lance table"):
        found(tmp_path / "none.lance")
    path = tmp_path / "clips.lance"
    lance.write_dataset(pa.table({"video": values}), path)
    for part, reason in (
        ("1/9/video", ErrorType.corrupt),
        ("1/0/other", ErrorType.corrupt),
        ("7/0/video", ErrorType.not_found),
    ):
        with pytest.raises(UnitFailure) as caught:
            content(Video("v", str(path), part=f"lance:{part}"))
        assert caught.value.error_type is reason, caught.value
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(UsageError, match=r"needs the package lance: pip install"):
        found(path)
