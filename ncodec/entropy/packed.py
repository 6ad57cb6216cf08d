"""The packed coder: plain bits, no model (formats/PAYLOADS.md, section 1)."""

import numpy as np
from numpy.typing import NDArray

from ncodec.entropy.base import EntropyCoder
from ncodec.errors import PayloadError

_CHUNK = 1 << 15
"""Codes converted at a time, a multiple of 8 so that a chunk fills whole bytes."""


class PackedCoder(EntropyCoder):
    """Plain bit packing, [F, S, Q] in order."""

    number = 0
    name = "packed"

    @property
    def _width(self) -> int:
        return (self.codebook_size - 1).bit_length()

    def encode(self, codes: NDArray[np.integer], *, dependent: bool = False) -> bytes:
        """Return the payload of one packet; see `EntropyCoder.encode`."""
        del dependent
        flat = self._check_codes(codes).reshape(-1)
        parts: list[bytes] = []
        for start in range(0, flat.size, _CHUNK):
            words = flat[start : start + _CHUNK].astype(">u2")
            bits = np.unpackbits(words.view(np.uint8)).reshape(-1, 16)[:, 16 - self._width :]
            parts.append(np.packbits(bits).tobytes())
        return b"".join(parts)

    def decode(
        self, payload: bytes, n_frames: int, *, dependent: bool = False
    ) -> NDArray[np.int64]:
        """Return the codes of one packet; see `EntropyCoder.decode`."""
        del dependent
        n_codes, width = self._check_n_frames(n_frames), self._width
        n_bytes, n_fill = -(-n_codes * width // 8), -n_codes * width % 8
        if len(payload) != n_bytes:
            raise PayloadError(
                f"packed payload of {n_codes} codes: expected {n_bytes} bytes, found {len(payload)}"
            )
        if n_fill and payload[-1] & ((1 << n_fill) - 1):
            raise PayloadError("packed payload: the bits after the last code are not zero")
        packed = np.frombuffer(payload, np.uint8)
        flat = np.empty(n_codes, np.int64)
        for start in range(0, n_codes, _CHUNK):
            count = min(_CHUNK, n_codes - start)
            bits = np.zeros((count, 16), np.uint8)
            chunk = packed[start * width // 8 : -(-(start + count) * width // 8)]
            bits[:, 16 - width :] = np.unpackbits(chunk, count=count * width).reshape(-1, width)
            flat[start : start + count] = np.packbits(bits).view(">u2")
        if n_codes and int(flat.max()) >= self.codebook_size:
            raise PayloadError(
                f"packed payload: code {int(flat.max())}, expected 0 to {self.codebook_size - 1}"
            )
        codes = flat.reshape(n_frames, self.n_streams, self.n_codebooks)
        return np.ascontiguousarray(codes.transpose(1, 2, 0))  # [F, S, Q] -> [S, Q, F]
