"""The mixed coder of the kernel writes the bytes and finds the codes of the NumPy reference."""

import numpy as np
import pytest
from coder_contexts import SIZES, check_same, draw_codes
from hypothesis import given, settings
from hypothesis import strategies as st

from ncodec import native
from ncodec.entropy.mixed import ReferenceMixedContext
from ncodec.native.coders import CoderContext

pytestmark = pytest.mark.skipif(not native.paths(), reason="the kernel was not built")


def kernel_context(n_streams: int, n_codebooks: int, codebook_size: int) -> CoderContext:
    return CoderContext("mixed", n_streams, n_codebooks, codebook_size)


@pytest.mark.quick
@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1), n_streams=st.integers(1, 4), n_codebooks=st.integers(1, 4),
    n_frames=st.integers(0, 24), n_packets=st.integers(1, 5), size=SIZES,
)  # fmt: skip
def test_any_sizes(
    seed: int, n_streams: int, n_codebooks: int, n_frames: int, n_packets: int, size: int
) -> None:
    check_same("mixed", draw_codes(seed, (n_frames, n_streams, n_codebooks), size), size, n_packets)


def test_past_the_window() -> None:
    check_same("mixed", draw_codes(1, (1100, 1, 2), 3), 3, 3)


@pytest.mark.slow
@pytest.mark.parametrize("n_packets", [1, 700])
def test_past_the_rings_of_the_kernel(n_packets: int) -> None:
    check_same("mixed", draw_codes(2, (5300, 2, 2), 20), 20, n_packets)


def test_past_the_rings_the_kernel_decodes_what_it_encodes() -> None:
    codes = draw_codes(3, (9300, 1, 3), 20)
    to, back = kernel_context(1, 3, 20), kernel_context(1, 3, 20)
    for packet in np.array_split(codes, 31):
        found, failed = back.decode(to.encode(packet), len(packet))
        assert failed == -1
        assert np.array_equal(found, packet)


@settings(deadline=None, max_examples=40)
@given(
    payloads=st.lists(st.binary(max_size=60), min_size=1, max_size=3), n_frames=st.integers(0, 12),
    n_streams=st.integers(1, 3), n_codebooks=st.integers(1, 3), size=SIZES,
)  # fmt: skip
def test_any_bytes(
    payloads: list[bytes], n_frames: int, n_streams: int, n_codebooks: int, size: int
) -> None:
    sizes = n_streams, n_codebooks, size
    contexts = kernel_context(*sizes), ReferenceMixedContext(*sizes)
    for payload in payloads:
        here, there = (context.decode(payload, n_frames) for context in contexts)
        assert here[1] == there[1]
        known = n_frames * n_streams * n_codebooks if here[1] < 0 else here[1]
        assert np.array_equal(here[0].reshape(-1)[:known], there[0].reshape(-1)[:known])
        if here[1] >= 0:
            break


def test_a_wrong_call_is_refused() -> None:
    for sizes in [(0, 1, 2), (1, 1, 1), (1, 1, 65537), (65, 128, 2), (2**30, 2**30, 16)]:
        with pytest.raises(ValueError, match="out of range"):
            kernel_context(*sizes)
    with pytest.raises(ValueError, match="no coder named zip"):
        CoderContext("zip", 1, 1, 2)
    context = kernel_context(1, 2, 16)
    with pytest.raises(ValueError, match="out of range"):
        context.encode(np.full((1, 1, 2), 16, np.int32))
    with pytest.raises(ValueError, match=r"int32 \[frames"):
        context.encode(np.zeros((1, 1, 3), np.int32))
