"""What clusters have for the pools."""

from pipeline.execution.bottleneck import Room

# Eight cores beside a GPU, 32 videos of 15 views to a call.
GPU = Room(
    cores=8,
    most_decoders=16,
    labeller_threads=None,
    batch_size=32,
    full_batch=32,
    views_per_call=480,
)
