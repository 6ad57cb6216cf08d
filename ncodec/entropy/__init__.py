"""Codes <-> payload bytes: the one door to entropy coding.

Shapes: S streams, Q codebooks, F frames.

>>> encoder = open_coder("adaptive", n_streams=1, n_codebooks=8, codebook_size=1024)
>>> payload = encoder.encode(codes)                  # [S, Q, F] -> bytes
>>> decoder = open_coder("adaptive", n_streams=1, n_codebooks=8, codebook_size=1024)
>>> codes = decoder.decode(payload, n_frames=750)    # [S, Q, F] int64
"""

from ncodec.entropy.base import MAX_CODEBOOK_SIZE, MAX_CODES, EntropyCoder
from ncodec.entropy.registry import CODER_NUMBERS, open_coder

__all__ = ["CODER_NUMBERS", "MAX_CODEBOOK_SIZE", "MAX_CODES", "EntropyCoder", "open_coder"]
