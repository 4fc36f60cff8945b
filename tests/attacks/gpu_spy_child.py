"""A decoder's child process that was taken over, with the restrictions of one that has a GPU.

It needs none: the decoder that would open the GPU is that of the processor.
"""

from tests.attacks.spy_child import spy
from workers.decoding import child, nvdec

if __name__ == "__main__":
    nvdec.begin = lambda: None
    child.Worker.answer = spy  # type: ignore[method-assign]
    child.main()
