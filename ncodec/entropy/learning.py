"""What the coders share that learn from the packets themselves, and know nothing at a key packet.

Shapes: S streams, Q codebooks, F frames.
"""

from abc import abstractmethod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ncodec.entropy.base import EntropyCoder
from ncodec.entropy.rangecoder import check_payload, no_symbol_fits
from ncodec.errors import PayloadError, UsageError
from ncodec.native import chosen_path
from ncodec.native.coders import CoderContext


class Context(Protocol):
    """What the packets so far leave, none at first; see `ncodec.native.coders`."""

    def encode(self, codes: NDArray[np.integer], /) -> bytes:
        """Return the payload of a packet of codes [F, S, Q]."""
        ...

    def decode(
        self, payload: bytes, n_frames: int, /
    ) -> tuple[NDArray[np.int32] | NDArray[np.int64], int]:
        """Return the codes [F, S, Q] of a packet, and -1, or where it failed."""
        ...


class LearningCoder(EntropyCoder):
    """By the kernel, or where it was not built by a reference in NumPy, with the same bytes."""

    symbols_per_code = 1
    """Most symbols of the range coder that a code takes."""

    _context: Context | None = None

    @abstractmethod
    def _reference(self) -> Context:
        """Return the state before key packets, in NumPy."""

    def _begin(self) -> Context:
        """Return the state before key packets."""
        if chosen_path():
            return CoderContext(self.name, self.n_streams, self.n_codebooks, self.codebook_size)
        return self._reference()

    def encode(self, codes: NDArray[np.integer], *, dependent: bool = False) -> bytes:
        """Return the payload of one packet; see `EntropyCoder.encode`."""
        ordered = self._check_codes(codes)
        context = self._context if dependent else self._begin()
        if context is None:
            raise UsageError(f"{self.name} coder: a dependent packet needs a packet before it")
        self._context = context
        return context.encode(ordered)

    def decode(
        self, payload: bytes, n_frames: int, *, dependent: bool = False
    ) -> NDArray[np.int64]:
        """Return the codes of one packet; see `EntropyCoder.decode`."""
        context = self._context if dependent else self._begin()
        self._context = None  # no context is left if this packet fails
        if context is None:
            raise PayloadError(f"{self.name} payload: the packet before this one was not decoded")
        codes = self._decode(context, payload, n_frames, n_frames)
        self._context = context
        return codes

    def decode_start(self, payload: bytes, n_frames: int, first: int) -> NDArray[np.int64]:
        """Return the codes of the first frames; see `EntropyCoder.decode_start`."""
        self._context = None
        return self._decode(self._begin(), payload, n_frames, first)

    def _decode(
        self, context: Context, payload: bytes, n_frames: int, first: int
    ) -> NDArray[np.int64]:
        check_payload(payload, self._check_n_frames(n_frames) * self.symbols_per_code)
        codes, failed = context.decode(payload, first)
        if failed >= 0:
            raise no_symbol_fits(failed)
        return np.ascontiguousarray(codes.transpose(1, 2, 0), np.int64)  # [F, S, Q] -> [S, Q, F]
