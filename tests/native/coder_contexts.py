"""Codes for the coders of the kernel, and their comparison with the NumPy references."""

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ncodec.entropy.adaptive import ReferenceAdaptiveContext
from ncodec.entropy.mixed import ReferenceMixedContext
from ncodec.native.coders import CoderContext

REFERENCES = {"adaptive": ReferenceAdaptiveContext, "mixed": ReferenceMixedContext}
SIZES = st.one_of(st.integers(2, 70), st.sampled_from([1000, 1024, 4096, 65536]))


def draw_codes(seed: int, shape: tuple[int, int, int], size: int) -> NDArray[np.int64]:
    """Codes [F, S, Q] of which many repeat, recur or are those of the stream before."""
    rng = np.random.default_rng(seed)
    codes = (rng.random(shape) ** rng.uniform(1, 6) * size).astype(np.int64)
    for frame in range(1, len(codes)):
        again = codes[rng.integers(max(0, frame - 5), frame)]
        codes[frame] = np.where(rng.random(shape[1:]) < 0.5, again, codes[frame])
    codes[:, 1:] = np.where(rng.random(codes[:, 1:].shape) < 0.5, codes[:, :-1], codes[:, 1:])
    return codes


def check_same(name: str, codes: NDArray[np.int64], size: int, n_packets: int) -> None:
    """A key packet and the dependent ones after it, both ways."""
    _, n_streams, n_codebooks = codes.shape
    sizes = n_streams, n_codebooks, size
    reference = REFERENCES[name]
    to_kernel, to_reference = CoderContext(name, *sizes), reference(*sizes)
    contexts = CoderContext(name, *sizes), reference(*sizes)
    for packet in np.array_split(codes, n_packets):
        payload = to_kernel.encode(packet)
        assert payload == to_reference.encode(packet)
        for context in contexts:
            found, failed = context.decode(payload, len(packet))
            assert failed == -1
            assert np.array_equal(found, packet)
