"""Reading the bits of headers (ITU-T H.264 and H.265, 7.2 and 9.1)."""

from __future__ import annotations

_EMULATION, _PLAIN = b"\0\0\3", b"\0\0"


class Bits:
    """The bits of ``data`` from the first on; raises IndexError where they end.

    ``escaped``: ``data`` is from a NAL unit and has emulation prevention bytes, which are removed.
    """

    def __init__(self, data: bytes, *, escaped: bool = True) -> None:
        plain = data.replace(_EMULATION, _PLAIN) if escaped else data
        self._value = int.from_bytes(plain, "big")
        self._left = 8 * len(plain)

    def take(self, count: int) -> int:
        """The next ``count`` bits as a number."""
        self.skip(count)
        return self._value >> self._left & ((1 << count) - 1)

    def skip(self, count: int) -> None:
        """Skips ``count`` bits."""
        if count > self._left:
            raise IndexError("no more bits")
        self._left -= count

    def golomb(self) -> int:
        """The next Exp-Golomb number."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed_golomb(self) -> int:
        """The next signed Exp-Golomb number."""
        number = self.golomb()
        return (number + 1) // 2 if number % 2 else -(number // 2)
