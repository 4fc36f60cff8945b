"""The forward pass, compiled with torch.compile and captured in a CUDA graph where possible.

Where compiling or capturing fails, a warning says so and the pass runs without it. torch caches
compiled code under TORCHINDUCTOR_CACHE_DIR (by default a folder of the user's in the system's
temporary folder), so only the first labeler of a machine waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from workers.inference.batching import BatchInput
from workers.inference.forward import Forward
from workers.inference.output_buffer import Outputs
from workers.inference.streams import CudaStream, Stream

# The first passes choose kernels and allocate memory, neither of which may be captured.
_WARMUP = 3

# Kernels are not chosen by timing them: two labelers give the same labels to the bit.
_OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {"deterministic": True}

_log = logging.getLogger(__name__)


class Step:
    """The forward pass over a batch, prepared.

    Attributes:
        compiled: whether kernels are torch.compile's.
        captured: whether the pass is a CUDA graph.
    """

    def __init__(
        self, forward: Forward, batch: BatchInput, stream: Stream, *, static: bool
    ) -> None:
        self._batch = batch
        self._forward: Callable[..., Outputs] = forward
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: Outputs = ()
        self.compiled = static and self._compile(forward, stream)
        self.captured = static and isinstance(stream, CudaStream) and self._capture(stream)
        if not static and isinstance(stream, CudaStream):
            self._warm_up(stream)

    @torch.inference_mode()
    def __call__(self) -> Outputs:
        """Runs on the current stream; a captured pass overwrites the outputs of the last one."""
        if self._graph is not None:
            self._graph.replay()
            return self._outputs
        return self._forward(self._batch.clips, self._batch.ids)

    def _warm_up(self, stream: Stream) -> None:
        for _ in range(_WARMUP if isinstance(stream, CudaStream) else 1):
            stream.run(self)
        stream.record_event().synchronize()

    def _compile(self, forward: Forward, stream: Stream) -> bool:
        self._forward = torch.compile(forward, fullgraph=True, dynamic=False, options=_OPTIONS)
        try:
            self._warm_up(stream)
        except Exception as error:
            self._forward = forward
            _log.warning("torch.compile failed, running uncompiled: %s", _first_line(error))
            return False
        return True

    def _capture(self, stream: CudaStream) -> bool:
        graph = torch.cuda.CUDAGraph()
        try:
            self._warm_up(stream)
            # The outer context restores the current stream if the capture fails.
            cuda = stream.stream
            with torch.inference_mode(), torch.cuda.stream(cuda):  # noqa: SIM117
                with torch.cuda.graph(graph, stream=cuda, capture_error_mode="thread_local"):
                    self._outputs = self()
        except Exception as error:
            _log.warning("CUDA graph capture failed, running without: %s", _first_line(error))
            return False
        self._graph = graph
        return True


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else 'no reason given'}"
