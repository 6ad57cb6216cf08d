"""The adaptive and the mixed coder of the kernel; adaptive.h, mixed.h have the functions behind it.

Shapes: S streams, Q codebooks, F frames.
"""

import numpy as np
from numpy.typing import NDArray

from ncodec.native import extension as _kernel


class CoderContext:
    """What the packets so far leave, none at first; for one direction, and one call at a time.

    Raises ValueError for sizes above the limits of the coder of that `name`.
    """

    def __init__(self, name: str, n_streams: int, n_codebooks: int, codebook_size: int) -> None:
        self._shape = (n_streams, n_codebooks)
        self._handle = _kernel.coder(name, n_streams, n_codebooks, codebook_size)

    def encode(self, codes: NDArray[np.integer]) -> bytes:
        """Return the payload of a packet of codes [F, S, Q]."""
        return _kernel.coder_encode(self._handle, np.ascontiguousarray(codes, np.int32))

    def decode(self, payload: bytes, n_frames: int) -> tuple[NDArray[np.int32], int]:
        """Return the codes [F, S, Q] of a packet, and -1.

        Or instead of -1 how many codes come before one that no symbol fits, in whole streams of a
        frame for the adaptive coder; no packet may follow then.
        """
        codes = np.empty((n_frames, *self._shape), np.int32)
        return codes, _kernel.coder_decode(self._handle, payload, codes)
