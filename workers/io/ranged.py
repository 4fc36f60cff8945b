"""The bytes of an object, read by ranges: a `Content`.

Blocks are kept in a cache of bounded size. Sequential reads fetch more and more blocks at once.
Several cursors can read one object and share its cache.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict

from sta.transport.objects import open_object
from sta.transport.responses import ObjectResponse, StoreError
from sta.transport.retry import VIDEOS, Retries
from workers.failures import ErrorType, UnitFailure
from workers.io.objects import changed_since_listed, check_progress, wait_or_raise

BLOCK_BYTES = 1 << 18
MAX_FETCH_BYTES = 8 << 20
CACHE_BYTES = 64 << 20
_RUNS = 4  # positions that are read sequentially at the same time, such as video and audio


class RangedObject:
    """One version of an object, read by ranges.

    The argument ``etag`` is the required ETag, None for any. ``size`` and ``etag`` are the
    object's; ``received`` counts the bytes from the network; ``serves_ranges`` is False for a web
    server without ranges, of which only the first bytes can be read. Raises UnitFailure if the
    object cannot be read at all; later failures are stored in ``failure``, see ``read_at``.
    """

    is_remote = True

    def __init__(
        self,
        uri: str,
        *,
        etag: str | None = None,
        seconds: float = VIDEOS.seconds,
        private_hosts: bool = False,
        block_bytes: int = BLOCK_BYTES,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.failure: UnitFailure | None = None
        self.received = 0
        self.size = 0
        self.etag = etag
        self.retries = Retries(dataclasses.replace(VIDEOS, seconds=seconds))
        self.serves_ranges = True
        self._uri = uri
        self._private_hosts = private_hosts
        self._block = block_bytes
        self._most_blocks = max(1, min(MAX_FETCH_BYTES, cache_bytes // 4) // block_bytes)
        self._capacity = max(2, cache_bytes // block_bytes)
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._runs: OrderedDict[int, int] = OrderedDict()
        self._opened = False
        try:
            self._fetch(0, 1)
        except UnitFailure as failure:
            raise changed_since_listed(failure) if not self._opened else failure from None

    def begin_unit(self) -> None:
        """As in Content."""
        self.retries.reset()

    def read_at(self, offset: int, count: int) -> bytes:
        """As in Content."""
        if self.failure is not None or offset >= self.size or count < 1:
            return b""
        number, start = divmod(offset, self._block)
        try:
            block = self._block_at(number)
        except UnitFailure as failure:
            self.failure = failure
            return b""
        return block[start : start + count]

    def _block_at(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            self._fetch(number, self._run_at(number))
            block = self._blocks[number]
        self._blocks.move_to_end(number)
        return block

    def _run_at(self, number: int) -> int:
        """Number of blocks to fetch: twice that of the fetch that ended here, else one."""
        count = min(2 * self._runs.pop(number, 0) or 1, self._most_blocks)
        last = -(-self.size // self._block)
        count = min(count, last - number)
        for ahead in range(1, count):
            if number + ahead in self._blocks:
                count = ahead
                break
        self._runs[number + count] = count
        if len(self._runs) > _RUNS:
            self._runs.popitem(last=False)
        return count

    def _fetch(self, number: int, count: int) -> None:
        start = number * self._block
        end = start + count * self._block
        data = bytearray()
        with self.retries.running():
            while True:
                try:
                    self._read_on(data, start, end)
                    break
                except Exception as error:
                    wait_or_raise(self.retries, error)
        for place in range(count):
            piece = data[place * self._block : (place + 1) * self._block]
            self._blocks[number + place] = bytes(piece)
        while len(self._blocks) > self._capacity:
            self._blocks.popitem(last=False)

    def _read_on(self, data: bytearray, start: int, end: int) -> None:
        """Read into ``data``, which holds what came of [start, end) before."""
        begin = start + len(data)
        response = self._request(begin, end)
        try:
            if response.start != begin:
                raise UnitFailure(ErrorType.internal, "the server serves no ranges")
            if not self._opened:
                self._start(response)
            elif self.size != response.size:
                raise StoreError("the object was replaced while it was being read", "changed")
            wanted = min(end, self.size) - start
            for chunk in response.chunks:
                piece = chunk[: wanted - len(data)]
                self.received += len(piece)
                data += piece
                check_progress(self.retries, len(data), wanted)
                if len(data) == wanted:
                    return
            raise ConnectionError(f"{len(data)} of {wanted} bytes arrived")
        finally:
            response.close()

    def _request(self, begin: int, end: int) -> ObjectResponse:
        try:
            return open_object(
                self._uri,
                start=begin,
                end=end,
                etag=self.etag,
                policy=self.retries.policy,
                private_hosts=self._private_hosts,
            )
        except StoreError as error:
            if error.status == 416 and not begin:  # not even the first byte exists
                raise UnitFailure(ErrorType.empty, "the file has no bytes") from None
            raise

    def _start(self, response: ObjectResponse) -> None:
        self.size, self.etag = response.size, response.etag
        if not self.size:
            raise UnitFailure(ErrorType.empty, "the file has no bytes")
        self.serves_ranges = response.partial
        self._opened = True
