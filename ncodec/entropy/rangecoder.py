"""The range coder over integer frequencies: the only module that touches constriction.

Shapes: N symbols, K alphabet size. The bytes are those of formats/PAYLOADS.md, section 2.
"""

import constriction
import numpy as np
from numpy.typing import NDArray

from ncodec.errors import PayloadError

MAX_ROW_SUM = 1 << 22
"""Keeps every partial sum of a row, and the rounding of its last symbol, exact in float32."""

_WHOLE = 1 << 24  # what the cumulative table of a row ends with
_WORD_BYTES = 4
_MAX_SYMBOL_BYTES = 3  # a frequency of 1 in 2**24 costs 24 bits

_STREAM = constriction.stream  # pyright: ignore[reportAttributeAccessIssue]  (compiled, no stubs)

# perfect=False: perfect=True is another code, 800 times slower. Said explicitly because the
# default has changed between versions, and prints a notice.
_CATEGORICAL = _STREAM.model.Categorical(perfect=False)


def _table(frequencies: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return the rows as constriction wants them: float32, row after row in memory."""
    if frequencies.dtype.kind not in "iu" or frequencies.ndim != 2 or frequencies.shape[1] < 2:
        raise ValueError(
            f"frequencies: expected integers [N, K >= 2],"
            f" found {frequencies.dtype} {list(frequencies.shape)}"
        )
    if not frequencies.size:
        return np.empty(frequencies.shape, np.float32)
    if frequencies.min() < 1:
        raise ValueError(f"frequencies: all must be positive, found {frequencies.min()}")
    table = frequencies.astype(np.float32, order="C")
    # The sums are exact up to 2**24, and larger ones are still over the limit when rounded.
    if np.add.reduce(table, axis=1).max() > MAX_ROW_SUM:
        raise ValueError(f"frequencies: a row adds up to more than {MAX_ROW_SUM}")
    return table


class RangeEncoder:
    """Appends symbols to a payload."""

    def __init__(self) -> None:
        self._encoder = _STREAM.queue.RangeEncoder()

    def encode(self, symbols: NDArray[np.integer], frequencies: NDArray[np.integer]) -> None:
        """Append `symbols`.

        symbols      [N] in [0, K)
        frequencies  [N, K] positive, each row's sum at most MAX_ROW_SUM
        """
        table = _table(frequencies)
        if symbols.dtype.kind not in "iu" or symbols.shape != table.shape[:1]:
            raise ValueError(
                f"symbols: expected integers [{table.shape[0]}],"
                f" found {symbols.dtype} {list(symbols.shape)}"
            )
        if not symbols.size:
            return
        if symbols.min() < 0 or symbols.max() >= table.shape[1]:
            raise ValueError(
                f"symbols: expected 0 to {table.shape[1] - 1},"
                f" found {symbols.min()} to {symbols.max()}"
            )
        self._encoder.encode(symbols.astype(np.int32, order="C"), _CATEGORICAL, table)

    def finish(self) -> bytes:
        """Return the payload of all symbols so far."""
        # constriction ends with a whole word, low + 2**32 - 1 cut to its upper half. The words
        # before it are taken from there; the tail is chosen anew, to need the fewest bytes.
        #
        #     low         value             low + size
        #     |-------------|-------------------|      any number in here gives the same symbols:
        #             ab cd 00 00 00 ...               that with most zeros at its end is taken
        n_words, (low, size) = self._encoder.pos()
        head = self._encoder.get_compressed()[:n_words].astype(">u4").tobytes()
        tail = b""
        if low + (1 << 32) - 1 < 1 << 64:  # otherwise the head has the carry, and no tail is due
            for n_bytes in range(_WORD_BYTES + 1):
                unit = 1 << (64 - 8 * n_bytes)
                value = -(-low // unit) * unit
                if value < min(low + size, 1 << 64):
                    tail = value.to_bytes(8, "big")[:n_bytes]
                    break
        return (head + tail).rstrip(b"\0")


class RangeDecoder:
    """Reads symbols from a payload, given the rows they were encoded with.

    n_symbols  that were read
    """

    def __init__(self, payload: bytes) -> None:
        self.n_symbols = 0
        padded = payload + bytes(-len(payload) % _WORD_BYTES)
        words = np.frombuffer(padded, ">u4").astype(np.uint32)
        self._decoder = _STREAM.queue.RangeDecoder(words)

    def decode(self, frequencies: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the next N symbols; `frequencies` [N, K] as for the encoder."""
        table = _table(frequencies)
        if not table.size:
            return np.empty(0, np.int32)
        try:
            symbols = self._decoder.decode(_CATEGORICAL, table)
        except AssertionError as error:
            raise no_symbol_fits(self.n_symbols) from error
        self.n_symbols += len(symbols)
        return symbols


def no_symbol_fits(n_symbols: int) -> PayloadError:
    """Return the error of a payload that cannot be read on after so many symbols."""
    return PayloadError(f"range-coded payload: no symbol fits after {n_symbols} symbols")


def check_payload(payload: bytes, n_symbols: int) -> None:
    """Raise PayloadError for bytes that no encoder writes for so many symbols."""
    if payload[-1:] == b"\0":
        raise PayloadError("range-coded payload: its last byte is zero")
    if len(payload) > _MAX_SYMBOL_BYTES * n_symbols + 2 * _WORD_BYTES:
        raise PayloadError(
            f"range-coded payload: {len(payload)} bytes are too many for {n_symbols} symbols"
        )
