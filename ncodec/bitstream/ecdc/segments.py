"""The codes of one segment of an .ecdc file, as bits or by the arithmetic coder (formats/ECDC.md).

Shapes: Q codebooks, F frames.
"""

import contextlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ncodec.errors import InvalidField
from ncodec.formats.ecdc import CODE_BITS, ByteReader
from ncodec.formats.ecdc_arithmetic import ArithmeticDecoder, ArithmeticEncoder

if TYPE_CHECKING:
    from ncodec.models.encodec_lm import EncodecLm

SegmentCodes = NDArray[np.int64]  # [Q, F]


class PackedWriter:
    """Codes of one segment in 10 bits each, frame by frame, filled up to a byte at the end."""

    def __init__(self) -> None:
        self._rest = np.empty(0, np.int64)  # too few for whole bytes

    def write(self, codes: SegmentCodes) -> bytes:
        """Return the bytes that these frames make full."""
        flat = np.concatenate([self._rest, codes.T.reshape(-1)])
        n_whole = len(flat) // 4 * 4
        self._rest = flat[n_whole:]
        return _packed(flat[:n_whole])

    def finish(self) -> bytes:
        """Return the last bytes."""
        return _packed(self._rest)


def _packed(flat: NDArray[np.int64]) -> bytes:
    words = flat.astype("<u2").view(np.uint8).reshape(-1, 2)
    bits = np.unpackbits(words, axis=1, bitorder="little")[:, :CODE_BITS]
    return np.packbits(bits, bitorder="little").tobytes()


class PackedReader:
    """Reads what `PackedWriter` wrote."""

    def __init__(self, source: ByteReader, label: str, n_codebooks: int) -> None:
        self._source = source
        self._label = label
        self._n_codebooks = n_codebooks

    def read(self, n_frames: int) -> SegmentCodes:
        """Return the next frames: a multiple of 4, or all that are left."""
        n_codes = n_frames * self._n_codebooks
        packed = self._source.take(-(-n_codes * CODE_BITS // 8), self._label)
        bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
        if bits[n_codes * CODE_BITS :].any():
            fault = "the bits after the last code are not zero"
            raise self._source.error(InvalidField, self._label, fault, self._source.offset - 1)
        words = np.zeros((n_codes, 16), np.uint8)
        words[:, :CODE_BITS] = bits[: n_codes * CODE_BITS].reshape(-1, CODE_BITS)
        flat = np.packbits(words, axis=1, bitorder="little").view("<u2").astype(np.int64)
        return np.ascontiguousarray(flat.reshape(n_frames, self._n_codebooks).T)

    def finish(self) -> None:
        """Nothing is left: each piece is whole bytes."""


class LmWriter:
    """Codes of one segment by the arithmetic coder."""

    def __init__(self, lm: "EncodecLm") -> None:
        from ncodec.models.encodec_lm import LmContext

        self._context = LmContext(lm)
        self._coder = ArithmeticEncoder()
        self._last: NDArray[np.int64] | None = None

    def write(self, codes: SegmentCodes) -> bytes:
        """Return the bytes that are certain with these frames."""
        from ncodec.nn.threads import one_thread

        with one_thread:
            for frame in codes.T.copy():
                tables = self._context.tables(self._last, len(frame))
                for symbol, table in zip(frame.tolist(), tables, strict=True):
                    self._coder.push(symbol, table.data)
                self._last = frame
        return self._coder.take()

    def finish(self) -> bytes:
        """Return the last bytes."""
        return self._coder.finish()


class LmReader:
    """Reads what `LmWriter` wrote."""

    def __init__(
        self, source: ByteReader, label: str, n_codebooks: int, lm: "EncodecLm", *, one_thread: bool
    ) -> None:
        from ncodec.models.encodec_lm import LmContext
        from ncodec.nn.threads import one_thread as alone

        self._n_codebooks = n_codebooks
        self._threads = alone if one_thread else contextlib.nullcontext()
        self._context = LmContext(lm)
        self._coder = ArithmeticDecoder(source, label)
        self._last: NDArray[np.int64] | None = None

    def read(self, n_frames: int) -> SegmentCodes:
        """Return the next frames."""
        codes = np.empty((n_frames, self._n_codebooks), np.int64)
        with self._threads:
            for frame in codes:
                tables = self._context.tables(self._last, self._n_codebooks)
                frame[:] = [self._coder.pull(table.data) for table in tables]
                self._last = frame
        return np.ascontiguousarray(codes.T)

    def finish(self) -> None:
        """Check that the segment ends here."""
        self._coder.finish()
