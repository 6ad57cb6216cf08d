"""Codes [streams, codebooks, frames] of several kinds, for coders that learn."""

import numpy as np


def make_codes(seed, shape, size, kind):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, size, shape)
    if kind == "constant":
        codes[:] = codes[:, :, :1]
    elif kind == "repeating":
        for frame in range(1, shape[2]):
            same = rng.random(shape[:2]) < 0.6
            codes[:, :, frame] = np.where(same, codes[:, :, frame - 1], codes[:, :, frame])
    elif kind == "periodic":
        codes[:] = codes[:, :, np.arange(shape[2]) % min(5, max(1, shape[2]))]
    elif kind == "skewed":
        codes = (rng.random(shape) ** 6 * size).astype(np.int64)
    elif kind == "equal streams":
        codes[:] = codes[:1]
    return codes


KINDS = ["random", "constant", "repeating", "periodic", "skewed", "equal streams"]
