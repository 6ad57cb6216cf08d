import numpy as np
import pytest
from code_patterns import KINDS, make_codes
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_coders import ReferenceAdaptiveDecoder

from ncodec.entropy import open_coder
from ncodec.entropy.adaptive import AdaptiveCoder
from ncodec.errors import LimitExceeded, PayloadError, UsageError


def adaptive(codes, codebook_size):
    n_streams, n_codebooks, _ = codes.shape
    return AdaptiveCoder(n_streams=n_streams, n_codebooks=n_codebooks, codebook_size=codebook_size)


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_streams=st.integers(1, 3),
    n_codebooks=st.integers(1, 16),
    n_frames=st.integers(0, 60),
    size=st.sampled_from([2, 3, 16, 1000, 1024]),
    kind=st.sampled_from(KINDS),
)
def test_round_trip(seed, n_streams, n_codebooks, n_frames, size, kind):
    codes = make_codes(seed, (n_streams, n_codebooks, n_frames), size, kind)
    payload = adaptive(codes, size).encode(codes)
    decoded = adaptive(codes, size).decode(payload, n_frames)
    assert decoded.dtype == np.int64
    assert np.array_equal(decoded, codes)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 21), (1, 8, 3)])
def test_round_trip_of_the_largest_codebook(shape):
    codes = make_codes(1, shape, 65536, "repeating")
    payload = adaptive(codes, 65536).encode(codes)
    assert np.array_equal(adaptive(codes, 65536).decode(payload, shape[2]), codes)


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_past_the_longest_window(kind):
    codes = make_codes(2, (1, 1, 5003), 5, kind)
    payload = adaptive(codes, 5).encode(codes)
    assert np.array_equal(adaptive(codes, 5).decode(payload, 5003), codes)


def test_dependent_packets_profit_from_those_before():
    codes = make_codes(3, (1, 4, 200), 1024, "periodic")
    encoder = adaptive(codes, 1024)
    first = encoder.encode(codes)
    assert len(encoder.encode(codes, dependent=True)) < len(first) / 4
    assert encoder.encode(codes) == first


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_streams=st.integers(1, 2),
    n_codebooks=st.integers(1, 2),
    lengths=st.lists(st.integers(0, 45), min_size=1, max_size=3),
    size=st.sampled_from([2, 3, 7]),
    kind=st.sampled_from(KINDS),
)
def test_written_text_decodes_it(seed, n_streams, n_codebooks, lengths, size, kind):
    codes = make_codes(seed, (n_streams, n_codebooks, sum(lengths)), size, kind)
    encoder = adaptive(codes, size)
    decoder = ReferenceAdaptiveDecoder(n_streams, n_codebooks, size)
    for i, packet in enumerate(np.split(codes, np.cumsum(lengths)[:-1], axis=2)):
        payload = encoder.encode(packet, dependent=i > 0)
        decoded = decoder.decode(payload, packet.shape[2], dependent=i > 0)
        assert np.array_equal(decoded, packet)


@pytest.mark.slow
def test_written_text_decodes_it_past_the_longest_window():
    codes = make_codes(4, (1, 1, 2150), 3, "repeating")
    payload = adaptive(codes, 3).encode(codes)
    decoder = ReferenceAdaptiveDecoder(1, 1, 3)
    assert np.array_equal(decoder.decode(payload, 2150, dependent=False), codes)


def test_a_dependent_packet_needs_one_before_it():
    codes = make_codes(11, (1, 2, 5), 16, "random")
    with pytest.raises(UsageError, match="needs a packet before it"):
        adaptive(codes, 16).encode(codes, dependent=True)
    with pytest.raises(PayloadError, match="was not decoded"):
        adaptive(codes, 16).decode(b"", 5, dependent=True)


def test_codes_that_are_refused_leave_the_context_alone():
    codes = make_codes(13, (1, 2, 5), 16, "random")
    encoder, decoder = adaptive(codes, 16), adaptive(codes, 16)
    decoder.decode(encoder.encode(codes), 5)
    with pytest.raises(UsageError):
        encoder.encode(codes + 16, dependent=True)
    payload = encoder.encode(codes, dependent=True)
    assert np.array_equal(decoder.decode(payload, 5, dependent=True), codes)


def test_memory_for_the_tables_is_limited():
    with pytest.raises(LimitExceeded, match="the limit is 2097152"):
        open_coder("adaptive", n_streams=3, n_codebooks=128, codebook_size=65536)


@pytest.mark.slow
@settings(deadline=None, max_examples=2000)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 20),
)
def test_damaged_payloads_decode_or_raise_payload_error(seed, kind, changes, cut):
    codes = make_codes(seed, (1, 3, 50), 1024, kind)
    payload = bytearray(adaptive(codes, 1024).encode(codes))
    for at, value in changes:
        payload[at % len(payload)] = value
    try:
        decoded = adaptive(codes, 1024).decode(bytes(payload[: len(payload) - cut]), 50)
    except PayloadError:
        return
    assert decoded.shape == codes.shape
