"""The arithmetic coder of .ecdc files (ECDC.md, section 3)."""

from bisect import bisect_right
from collections.abc import Sequence

from ncodec.errors import FormatError, PayloadError
from ncodec.formats.ecdc import ByteReader

RANGE_BITS = 24


class _Interval:
    """What the symbols so far have narrowed the number down to: `low` to `high`, of `n_bits` bits.

    Both lose the leading bits on which they agree, and get more at the end when they are close.
    """

    def __init__(self) -> None:
        self.low = 0
        self.high = 0
        self.n_bits = 0

    @property
    def width(self) -> int:
        """How many numbers there are from `low` to `high`."""
        return self.high - self.low + 1

    def widen(self) -> int:
        """Append bits until it is at least 2^24 wide; return how many."""
        n = max(0, RANGE_BITS + 1 - self.width.bit_length())
        self.low <<= n
        self.high = (self.high + 1 << n) - 1
        self.n_bits += n
        return n

    def narrow(self, start: int, stop: int) -> None:
        """Go to the part from `start` to `stop`, of 2^24."""
        width = self.width
        self.high = self.low + ((stop - 1) * width >> RANGE_BITS)
        self.low -= -start * width >> RANGE_BITS
        if self.high >> self.n_bits:
            raise PayloadError("probabilities that add up to more than 1")

    def drop_common(self) -> str:
        """Drop the leading bits on which `low` and `high` agree; return them."""
        n_kept = (self.low ^ self.high).bit_length()
        n_dropped, dropped = self.n_bits - n_kept, self.low >> n_kept
        self.low -= dropped << n_kept
        self.high -= dropped << n_kept
        self.n_bits = n_kept
        return f"{dropped:0{n_dropped}b}" if n_dropped else ""


class ArithmeticEncoder(_Interval):
    """Writes one segment.

    A table holds, for each symbol, where its part of 2^24 ends; the parts lie one after another.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bits: list[str] = []

    def push(self, symbol: int, table: Sequence[int]) -> None:
        """Add a symbol."""
        self.widen()
        self.narrow(table[symbol - 1] if symbol else 0, table[symbol])
        self._bits.append(self.drop_common())

    def take(self) -> bytes:
        """Return the whole bytes that are certain, which `finish` then leaves out."""
        bits = "".join(self._bits)
        n_whole = len(bits) // 8 * 8
        self._bits = [bits[n_whole:]]
        return _packed(bits[:n_whole])

    def finish(self) -> bytes:
        """Return the segment's last bytes; nothing can be added then."""
        if self.n_bits:
            self._bits.append(f"{self.low:0{self.n_bits}b}")
        bits = "".join(self._bits)
        self._bits = []
        return _packed(bits)


def _packed(bits: str) -> bytes:
    """Return bits as bytes, the first in the lowest place, filled with zeros."""
    return int("0" + bits[::-1], 2).to_bytes(-(-len(bits) // 8), "little")


class ArithmeticDecoder(_Interval):
    """Reads one segment; `label` names it in errors. Tables are those of `ArithmeticEncoder`."""

    def __init__(self, source: ByteReader, label: str) -> None:
        super().__init__()
        self._source = source
        self._label = label
        self._number = 0
        self._bits = 0  # taken but not used, the next in the lowest place
        self._n_spare = 0

    def pull(self, table: Sequence[int]) -> int:
        """Return the next symbol. Raises PayloadError where there is none, Truncated."""
        n = self.widen()
        if n:
            self._number = self._number << n | self._next_bits(n)
        width, inside = self.width, self._number - self.low
        symbol = bisect_right(table, (inside << RANGE_BITS) // width)
        if symbol == len(table) or inside > (table[symbol] - 1) * width >> RANGE_BITS:
            raise self._error("no symbol has this number")
        try:
            self.narrow(table[symbol - 1] if symbol else 0, table[symbol])
        except PayloadError as error:
            raise self._error(str(error)) from None
        self.drop_common()
        self._number &= (1 << self.n_bits) - 1
        return symbol

    def finish(self) -> None:
        """Check what an encoder writes after the last symbol. Raises PayloadError."""
        if self._bits:
            raise self._error("the bits after the last symbol are not zero")
        if self._number != self.low:
            raise self._error("it does not end as the last symbol makes it end")

    def _error(self, text: str) -> FormatError:
        return self._source.error(PayloadError, self._label, text)

    def _next_bits(self, n: int) -> int:
        n_bytes = -(-(n - self._n_spare) // 8)
        if n_bytes > 0:
            taken = int.from_bytes(self._source.take(n_bytes, self._label), "little")
            self._bits |= taken << self._n_spare
            self._n_spare += 8 * n_bytes
        found = int(f"{self._bits & (1 << n) - 1:0{n}b}"[::-1], 2)
        self._bits >>= n
        self._n_spare -= n
        return found
