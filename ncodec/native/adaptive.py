"""The adaptive coder of the kernel; adaptive.h has the functions behind it.

Shapes: S streams, Q codebooks, F frames.
"""

import numpy as np
from numpy.typing import NDArray

from ncodec.native import extension as _kernel


class AdaptiveContext:
    """What the packets so far leave, none at first; for one direction, and one call at a time.

    Raises ValueError where all codebooks together have more than 2**21 codes.
    """

    def __init__(self, n_streams: int, n_codebooks: int, codebook_size: int) -> None:
        self._shape = (n_streams, n_codebooks)
        self._handle = _kernel.adaptive(n_streams, n_codebooks, codebook_size)

    def encode(self, codes: NDArray[np.integer]) -> bytes:
        """Return the payload of a packet of codes [F, S, Q]."""
        return _kernel.adaptive_encode(self._handle, np.ascontiguousarray(codes, np.int32))

    def decode(self, payload: bytes, n_frames: int) -> tuple[NDArray[np.int32], int]:
        """Return the codes [F, S, Q] of a packet, and -1.

        Or instead of -1 how many codes, in whole streams of a frame, come before one that no
        symbol fits; only `reset` may follow then.
        """
        codes = np.empty((n_frames, *self._shape), np.int32)
        return codes, _kernel.adaptive_decode(self._handle, payload, codes)
