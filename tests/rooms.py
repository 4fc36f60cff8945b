"""What clusters have for the pools."""

from pipeline.execution.bottleneck import Capacity

# Eight cores beside a GPU, 32 videos of 15 views to a call.
GPU = Capacity(
    cores=8,
    most_decoders=16,
    labeler_threads=None,
    batch_size=32,
    full_batch=32,
    views_per_call=480,
)
