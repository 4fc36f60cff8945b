"""Arrow schemas of decoded units (DECODED_SCHEMA) and labeled units (UNITS_SCHEMA).

The field metadata `about` gives every column's meaning and unit, also in the Parquet files.
"""

from __future__ import annotations

import pyarrow as pa

UNIT_SCHEMA_VERSION = 6

EMBEDDING = "embedding"

KEPT_MAPS_ABOUT = (
    "one bit map per pruning stage, 1 = token kept; bits run over (temporal position, row, "
    "column), the first token is the most significant bit of the first byte, zero bits fill up the "
    "last byte (as numpy.unpackbits reads); the grid (n_t, n_s) of each stage is in the schema "
    "metadata as kept_grids"
)


def column(name: str, kind: pa.DataType, about: str, *, nullable: bool = True) -> pa.Field:
    """A field whose metadata says what it holds."""
    return pa.field(name, kind, nullable=nullable, metadata={"about": about})


IDENTITY = (
    column("unit_id", pa.string(), "identity of the unit of work, unique in the run"),
    column("video_id", pa.string(), "identity of the video, unique in the archive"),
    column("uri", pa.string(), "location of the video: a path or URI"),
    column("part", pa.string(), "where the video lies within uri; null: uri is the video"),
    column("size_bytes", pa.int64(), "size of the file when it was listed; null if not known"),
    column("start_s", pa.float64(), "start of the unit in the video, seconds; null: the start"),
    column("end_s", pa.float64(), "end of the unit in the video, seconds; null: the end"),
    column("ground_truth", pa.string(), "label given in the input, null if none was"),
)

OUTCOME = (
    column("status", pa.string(), "ok or failed"),
    column("error_type", pa.string(), "kind of failure, from a closed list; null if ok"),
    column("error", pa.string(), "what went wrong, in one line; null if ok"),
    column(
        "attempts", pa.int32(), "attempts to decode, summed where further clips were decoded later"
    ),
    column("decode_ms", pa.float64(), "CPU time of fetching, decoding and resizing, milliseconds"),
    column("bytes_read", pa.int64(), "bytes read from storage"),
    column(
        "etag",
        pa.string(),
        "ETag of the object, or size and time of a local archive, that was read; else null",
    ),
    column(
        "frame_count",
        pa.int64(),
        "frames in the video, or in the unit's segment of a long video; null if not decoded",
    ),
    column("lost_frames", pa.int64(), "frames lost to damage, 0 for a sound file"),
    column(
        "duration_s",
        pa.float64(),
        "duration by timestamps of the video, or of the unit's segment, seconds",
    ),
    column(
        "decoded_clips",
        pa.int32(),
        "clips that were decoded; with early exit those that its views needed, or more; null if "
        "not decoded",
    ),
)

PREDICTION = (
    column("label", pa.string(), "name of the most probable class"),
    column("label_id", pa.int32(), "index of that class"),
    column("score", pa.float32(), "probability of that class"),
    column("top_ids", pa.list_(pa.int32()), "most probable classes, best first"),
    column("top_scores", pa.list_(pa.float32()), "their probabilities"),
)

EMBEDDING_ABOUT = (
    "what the model's head sees, float16, of the pruned model; null without --embeddings; the "
    "model, its pruning and its normalization are in the schema metadata as embedding"
)

SHADOW = (
    column("unpruned_label", pa.string(), "label without pruning; null outside the shadow sample"),
    column("unpruned_label_id", pa.int32(), "index of that class"),
    column("unpruned_score", pa.float32(), "probability of that class without pruning"),
    column("unpruned_top_ids", pa.list_(pa.int32()), "most probable classes without pruning"),
    column("unpruned_top_scores", pa.list_(pa.float32()), "their probabilities without pruning"),
    column("unpruned_flops", pa.int64(), "FLOPs of labeling without pruning, beside flops"),
    column(
        "unpruned_device_ms", pa.float64(), "device time of that, milliseconds, beside device_ms"
    ),
)

VIEW = (
    column("clip", pa.int32(), "number of the clip in the video, from 0"),
    column("crop", pa.int32(), "number of the spatial crop, from 0"),
    column("start_s", pa.float64(), "time of the clip's first frame in the video, seconds"),
    column("end_s", pa.float64(), "time of the clip's last frame in the video, seconds"),
    *PREDICTION,
    column("flops", pa.int64(), "multiply-accumulates of this view, fvcore's convention"),
    column("tokens_kept", pa.list_(pa.int32()), "tokens kept, per pruning stage"),
    column("kept_token_maps", pa.list_(pa.binary()), KEPT_MAPS_ABOUT),
    column(
        "device_ms", pa.float64(), "device time of the view's batch over its views, milliseconds"
    ),
    column(
        "unpruned_label_id",
        pa.int32(),
        "index of the most probable class without pruning; null outside the shadow sample",
    ),
    column(EMBEDDING, pa.list_(pa.float16()), EMBEDDING_ABOUT),
)

DECODED_SCHEMA = pa.schema(
    [
        *IDENTITY,
        *OUTCOME,
        column("frames", pa.large_binary(), "uint8 RGB frames, row-major"),
        column("frames_shape", pa.list_(pa.int32()), "(n, height, width, 3)"),
        column("clip_frames", pa.list_(pa.int32()), "(clips, T) rows of frames, row-major"),
        column("first_clip", pa.int32(), "number in the video of the unit's first clip"),
        column("clip_times", pa.list_(pa.float64()), "(clips, 2) seconds, row-major"),
        column(
            "clips",
            pa.list_(pa.int32()),
            "(clips,) numbers of these clips in the protocol; null: all clips of the unit",
        ),
    ]
)

FURTHER_SCHEMA = pa.schema(
    [
        *IDENTITY,
        column("etag", pa.string(), "as in the row whose further clips are to be decoded"),
        column("clips", pa.list_(pa.int32()), "numbers of the clips that are to be decoded"),
    ]
)

UNITS_SCHEMA = pa.schema(
    [
        *IDENTITY,
        *OUTCOME,
        *PREDICTION,
        column("scores", pa.list_(pa.float32()), "mean probability of every class over the views"),
        column(
            "margins",
            pa.list_(pa.float32()),
            "top-1/top-2 margin of the mean probabilities after each view, in the order in which "
            "views were evaluated; null without early exit",
        ),
        column("flops", pa.int64(), "sum of the views' flops"),
        column("device_ms", pa.float64(), "sum of the views' device_ms"),
        *SHADOW,
        column(
            "unpruned_scores",
            pa.list_(pa.float32()),
            "as scores, without pruning; null as the label",
        ),
        column("labeled_at", pa.timestamp("ms", tz="UTC"), "when this row was made"),
        column("views", pa.list_(pa.struct(list(VIEW))), "one entry per evaluated view"),
    ]
)
