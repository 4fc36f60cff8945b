"""The forward pass as one compiled graph, replayed for every batch; slower ways where that fails.

Compilation is cached by torch under TORCHINDUCTOR_CACHE_DIR (a folder of the user's under the
system's temporary one by default), so that only the first labeler of a machine pays for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from workers.inference.batching import BatchInput
from workers.inference.forward import Forward
from workers.inference.output_buffer import Outputs
from workers.inference.streams import CudaLane, Lane

# Kernels are chosen and memory is set up in the first passes, which a capture must not see.
_WARMUP = 3

# Kernels whose results depend on their shape are not chosen by a stopwatch: two labelers give the
# same labels to the bit, whichever of them had to choose.
_OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {"deterministic": True}

_log = logging.getLogger(__name__)


class Step:
    """One pass over a batch, prepared.

    Attributes:
        compiled: whether kernels are torch.compile's.
        captured: whether the pass is a CUDA graph.
    """

    def __init__(self, forward: Forward, batch: BatchInput, lane: Lane, *, static: bool) -> None:
        self._batch = batch
        self._forward: Callable[..., Outputs] = forward
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: Outputs = ()
        self.compiled = static and self._compile(forward, lane)
        self.captured = static and isinstance(lane, CudaLane) and self._capture(lane)
        if not static and isinstance(lane, CudaLane):
            self._warm_up(lane)

    @torch.inference_mode()
    def __call__(self) -> Outputs:
        """Runs on the current stream; a captured pass overwrites the outputs of the one before."""
        if self._graph is not None:
            self._graph.replay()
            return self._outputs
        return self._forward(self._batch.clips, self._batch.ids)

    def _warm_up(self, lane: Lane) -> None:
        for _ in range(_WARMUP if isinstance(lane, CudaLane) else 1):
            lane.run(self._discard)
        lane.mark().wait()

    def _discard(self) -> None:
        self()

    def _compile(self, forward: Forward, lane: Lane) -> bool:
        self._forward = torch.compile(forward, fullgraph=True, dynamic=False, options=_OPTIONS)
        try:
            self._warm_up(lane)
        except Exception as error:
            self._forward = forward
            _log.warning("the model runs uncompiled: %s", _first_line(error))
            return False
        return True

    def _capture(self, lane: CudaLane) -> bool:
        graph = torch.cuda.CUDAGraph()
        try:
            self._warm_up(lane)
            # The outer context gives the stream back that a capture which fails leaves behind.
            with torch.inference_mode(), torch.cuda.stream(lane.stream):  # noqa: SIM117
                with torch.cuda.graph(graph, stream=lane.stream, capture_error_mode="thread_local"):
                    self._outputs = self()
        except Exception as error:
            _log.warning("the model runs kernel by kernel: %s", _first_line(error))
            return False
        self._graph = graph
        return True


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else 'no reason given'}"
