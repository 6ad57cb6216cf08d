import numpy as np
import pytest
from code_patterns import KINDS, make_codes
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_coders import ReferenceMixedDecoder

from ncodec.entropy import open_coder
from ncodec.entropy.mixed import MixedCoder
from ncodec.errors import LimitExceeded, PayloadError, UsageError


def mixed(codes, codebook_size):
    n_streams, n_codebooks, _ = codes.shape
    return MixedCoder(n_streams=n_streams, n_codebooks=n_codebooks, codebook_size=codebook_size)


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_streams=st.integers(1, 3),
    n_codebooks=st.integers(1, 16),
    n_frames=st.integers(0, 60),
    size=st.sampled_from([2, 3, 16, 1000, 1024, 65536]),
    kind=st.sampled_from(KINDS),
)
def test_round_trip(seed, n_streams, n_codebooks, n_frames, size, kind):
    codes = make_codes(seed, (n_streams, n_codebooks, n_frames), size, kind)
    payload = mixed(codes, size).encode(codes)
    decoded = mixed(codes, size).decode(payload, n_frames)
    assert decoded.dtype == np.int64
    assert np.array_equal(decoded, codes)


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_streams=st.integers(1, 2),
    n_codebooks=st.integers(1, 3),
    lengths=st.lists(st.integers(0, 25), min_size=1, max_size=3),
    size=st.sampled_from([2, 3, 7, 1000, 65536]),
    kind=st.sampled_from(KINDS),
)
def test_written_text_decodes_it(seed, n_streams, n_codebooks, lengths, size, kind):
    codes = make_codes(seed, (n_streams, n_codebooks, sum(lengths)), size, kind)
    encoder = mixed(codes, size)
    decoder = ReferenceMixedDecoder(n_streams, n_codebooks, size)
    for i, packet in enumerate(np.split(codes, np.cumsum(lengths)[:-1], axis=2)):
        payload = encoder.encode(packet, dependent=i > 0)
        decoded = decoder.decode(payload, packet.shape[2], dependent=i > 0)
        assert np.array_equal(decoded, packet)


def test_written_text_decodes_it_past_the_window():
    codes = make_codes(4, (1, 1, 1060), 3, "repeating")
    payload = mixed(codes, 3).encode(codes)
    decoder = ReferenceMixedDecoder(1, 1, 3)
    assert np.array_equal(decoder.decode(payload, 1060, dependent=False), codes)


def test_alike_contexts_are_found():
    """The second code follows from the first, the third from its own in the frame before."""
    rng = np.random.default_rng(9)
    first = rng.integers(0, 40, 750)
    third = np.cumsum(rng.integers(0, 2, 750) * 13) % 64
    codes = np.stack([first, 25 * first % 64, third])[None]
    costs = [8 * len(mixed(codes[:, :n], 64).encode(codes[:, :n])) / 750 for n in (1, 2, 3)]
    assert costs[1] - costs[0] < 2.5  # of 5.3 bits
    assert costs[2] - costs[1] < 4.5  # of 6 bits, where 1 is random and 64 pairs are to be learnt
    adaptive = open_coder("adaptive", n_streams=1, n_codebooks=3, codebook_size=64)
    assert costs[2] < 0.85 * 8 * len(adaptive.encode(codes)) / 750


def test_a_dependent_packet_needs_one_before_it():
    codes = make_codes(11, (1, 2, 5), 16, "random")
    with pytest.raises(UsageError, match="mixed coder: a dependent packet needs a packet before"):
        mixed(codes, 16).encode(codes, dependent=True)
    with pytest.raises(PayloadError, match="was not decoded"):
        mixed(codes, 16).decode(b"", 5, dependent=True)


def test_limits():
    open_coder("mixed", n_streams=64, n_codebooks=128, codebook_size=2)
    with pytest.raises(LimitExceeded, match="the limit is 8192"):
        open_coder("mixed", n_streams=65, n_codebooks=128, codebook_size=2)
    coder = open_coder("mixed", n_streams=1, n_codebooks=2, codebook_size=1000)
    with pytest.raises(PayloadError, match="69 bytes are too many for 20 symbols"):
        coder.decode(bytes(68) + b"\1", 1)
