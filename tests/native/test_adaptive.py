"""The adaptive coder of the kernel writes the bytes and finds the codes of the NumPy reference."""

import numpy as np
import pytest
from coder_contexts import SIZES, check_same, draw_codes
from hypothesis import given, settings
from hypothesis import strategies as st

from ncodec import native
from ncodec.entropy.adaptive import ReferenceAdaptiveContext
from ncodec.native.coders import CoderContext

pytestmark = pytest.mark.skipif(not native.paths(), reason="the kernel was not built")


def kernel_context(n_streams: int, n_codebooks: int, codebook_size: int) -> CoderContext:
    return CoderContext("adaptive", n_streams, n_codebooks, codebook_size)


@pytest.mark.quick
@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1), n_streams=st.integers(1, 4), n_codebooks=st.integers(1, 5),
    n_frames=st.integers(0, 120), n_packets=st.integers(1, 5), size=SIZES,
)  # fmt: skip
def test_any_sizes(
    seed: int, n_streams: int, n_codebooks: int, n_frames: int, n_packets: int, size: int
) -> None:
    most = 1 if size > 4096 else n_streams
    check_same("adaptive", draw_codes(seed, (n_frames, most, n_codebooks), size), size, n_packets)


@pytest.mark.parametrize("size", [3, 1024])
@pytest.mark.parametrize("n_packets", [1, 700])
def test_past_the_longest_window(size: int, n_packets: int) -> None:
    check_same("adaptive", draw_codes(1, (4200, 2, 2), size), size, n_packets)


@settings(deadline=None, max_examples=200)
@given(
    seed=st.integers(0, 2**32 - 1), n_streams=st.integers(1, 3), n_codebooks=st.integers(1, 3),
    size=SIZES, payloads=st.lists(st.binary(max_size=80), min_size=1, max_size=4),
)  # fmt: skip
def test_payloads_that_no_encoder_wrote(
    seed: int, n_streams: int, n_codebooks: int, size: int, payloads: list[bytes]
) -> None:
    sizes = n_streams, n_codebooks, size
    contexts = kernel_context(*sizes), ReferenceAdaptiveContext(*sizes)
    for number, payload in enumerate(payloads):
        n_frames = (seed + 7 * number) % 40
        here, there = (context.decode(payload, n_frames) for context in contexts)
        assert here[1] == there[1]
        known = n_frames * n_streams * n_codebooks if here[1] < 0 else here[1]
        assert np.array_equal(here[0].reshape(-1)[:known], there[0].reshape(-1)[:known])
        if here[1] >= 0:
            break


def test_a_wrong_call_is_refused() -> None:
    for sizes in [(0, 1, 2), (1, 1, 1), (1, 1, 65537), (3, 128, 65536), (2**30, 2**30, 16)]:
        with pytest.raises(ValueError, match="out of range"):
            kernel_context(*sizes)
    context = kernel_context(1, 2, 16)
    with pytest.raises(ValueError, match="out of range"):
        context.encode(np.full((1, 1, 2), 16, np.int32))
    with pytest.raises(ValueError, match=r"int32 \[frames"):
        context.encode(np.zeros((1, 1, 3), np.int32))
