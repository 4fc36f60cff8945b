"""Finds similar videos by a Lance index of a run's embeddings, which is made once.

The index is an approximation: the nearest cells of an inverted file are searched, and of what they
hold the exact cosines are computed.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.embeddings.cosine import unit_rows
from pipeline.embeddings.nearest import NearestSearch
from pipeline.embeddings.read import EmbeddingBatch, read_embeddings
from pipeline.embeddings.video_means import read_video_embeddings
from pipeline.errors import UsageError
from pipeline.run.run_directory import RunDirectory
from pipeline.search.query import Query
from pipeline.search.similar import SimilarVideos, check_count, found_videos
from pipeline.storage.location import Location
from sta.transport.aws import library_options
from workers.embeddings import Vectors
from workers.schema import EMBEDDING

_PLACE = ("clip", "crop", "start_s", "end_s")
_RUN_ID = "run_id"
# Fewer rows are compared without an index.
_INDEXED = 1024
_MOST_CELLS = 4096
# Cells that are searched: of 1,000, of a million rows, 5 %.
_PROBES = 50
_FETCHED = 20


def check_lance() -> None:
    """Refuses to go on without Lance.

    Raises:
        UsageError: it is missing; the message says how to install it.
    """
    if importlib.util.find_spec("lance") is None:
        raise UsageError(
            "--index needs the package lance, which the extra 'lance' brings: "
            "pip install -c constraints.txt -e '.[lance]'"
        )


def find_by_index(run: RunDirectory, query: Query, k: int, folder: Location) -> SimilarVideos:
    """The k videos most like a query, by an index: nearly those of `find_similar`.

    Args:
        run: a finished run that stores embeddings.
        query: what to search for.
        k: number of videos.
        folder: of the datasets, views.lance and videos.lance, each made when it is first needed.

    Raises:
        UsageError: k is not 1 to MOST, Lance is missing, or the dataset is of another run.
    """
    check_count(k)
    check_lance()
    dataset = _dataset(run, folder, of_views=query.view is not None)
    rows = dataset.count_rows()
    wanted = _FETCHED * k
    while True:
        near = _nearest(dataset, query, min(wanted, rows))
        search = NearestSearch(query.vector, k, left_out={query.video.video_id})
        values = near[EMBEDDING].combine_chunks()
        vectors: Vectors = np.asarray(values.flatten()).reshape(len(near), -1)
        places = [near[name].to_pylist() for name in _PLACE if name in near.column_names]
        search.add(vectors, near["video_id"].to_pylist(), *places)
        # The views of one video may be all that was fetched.
        if len(search.neighbors()) == k or wanted >= rows or len(near) < wanted:
            break
        wanted *= 4
    name = query.video.video_id.replace("'", "''")
    others = rows - dataset.count_rows(f"video_id = '{name}'")
    return SimilarVideos(query, found_videos(run, search.neighbors()), others, 0, folder.uri)


def _nearest(dataset: Any, query: Query, count: int) -> pa.Table:
    names = [name for name in ("video_id", *_PLACE, EMBEDDING) if name in dataset.schema.names]
    return dataset.to_table(
        columns=[*names, "_distance"],
        nearest={"column": EMBEDDING, "q": query.vector[0], "k": count, "nprobes": _PROBES}
        | {"metric": "cosine"},
    )


def _dataset(run: RunDirectory, folder: Location, *, of_views: bool) -> Any:
    """The dataset with its index, which are made if they are missing."""
    import lance

    place = folder.child("views.lance" if of_views else "videos.lance")
    options = library_options(place.uri)
    record = run.load()
    run_id = record.run_id or ""
    if not place.child("_versions").exists():
        schema = _schema(record.model.channels, run_id, of_views=of_views)
        batches = _batches(run, schema, of_views=of_views)
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        lance.write_dataset(reader, place.uri, storage_options=options)
    dataset = lance.dataset(place.uri, storage_options=options)
    found = (dataset.schema.metadata or {}).get(_RUN_ID.encode(), b"").decode()
    if found != run_id:
        raise UsageError(
            f"{place.uri} holds the embeddings of another run than {run.root.uri}; name another "
            "folder by --index"
        )
    rows = dataset.count_rows()
    if rows >= _INDEXED and not dataset.describe_indices():
        cells = min(math.isqrt(rows), _MOST_CELLS)
        dataset.create_index(EMBEDDING, "IVF_FLAT", metric="cosine", num_partitions=cells)
        dataset = lance.dataset(place.uri, storage_options=options)
    return dataset


def _schema(channels: int, run_id: str, *, of_views: bool) -> pa.Schema:
    of_view = [("clip", pa.int32()), ("crop", pa.int32())]
    of_view += [("start_s", pa.float64()), ("end_s", pa.float64())]
    fields = [("video_id", pa.string()), *(of_view if of_views else [])]
    fields.append((EMBEDDING, pa.list_(pa.float16(), channels)))
    return pa.schema(fields, metadata={_RUN_ID: run_id})


def _batches(run: RunDirectory, schema: pa.Schema, *, of_views: bool) -> Iterator[pa.RecordBatch]:
    """The embeddings that have a direction."""
    for batch in read_embeddings(run.root) if of_views else read_video_embeddings(run):
        usable = unit_rows(batch.vectors)[1]
        columns = [pa.array(batch.video_ids, pa.string())]
        if isinstance(batch, EmbeddingBatch):
            columns += map(pa.array, (batch.clips, batch.crops, batch.start_s, batch.end_s))
        values = pa.array(np.ascontiguousarray(batch.vectors).reshape(-1), pa.float16())
        columns.append(pa.FixedSizeListArray.from_arrays(values, batch.vectors.shape[1]))
        made = pa.RecordBatch.from_arrays(columns, schema=schema)
        yield made.filter(pa.array(usable))
