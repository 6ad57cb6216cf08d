import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_coders import ReferenceAdaptiveDecoder

from ncodec.entropy import open_coder
from ncodec.entropy.adaptive import AdaptiveCoder
from ncodec.errors import LimitExceeded, PayloadError, UsageError


def adaptive(codes, codebook_size):
    n_streams, n_codebooks, _ = codes.shape
    return AdaptiveCoder(n_streams=n_streams, n_codebooks=n_codebooks, codebook_size=codebook_size)


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


def bits_a_code(codes, size):
    return len(adaptive(codes, size).encode(codes)) * 8 / codes.size


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


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    keys=st.lists(st.booleans(), min_size=6, max_size=6),
    kind=st.sampled_from(KINDS),
)
def test_dependent_packets_decode_in_order(seed, lengths, keys, kind):
    codes = make_codes(seed, (2, 2, sum(lengths)), 30, kind)
    packets = np.split(codes, np.cumsum(lengths)[:-1], axis=2)
    dependents = [False, *(not key for key in keys)]
    encoder, decoder = adaptive(codes, 30), adaptive(codes, 30)
    for packet, dependent in zip(packets, dependents, strict=False):
        payload = encoder.encode(packet, dependent=dependent)
        if not dependent:
            assert payload == adaptive(codes, 30).encode(packet)
        decoded = decoder.decode(payload, packet.shape[2], dependent=dependent)
        assert np.array_equal(decoded, packet)


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


def golden_codes(size):
    step = np.arange(2 * 3 * 40).reshape(2, 3, 40)
    return (step // 3 * step // 5 + step % 7) % size


GOLDEN = {
    2: "73674ba2d4714c813aafb6b2061005ee57ef8174e7940d161435c7f1c28173",
    16: (
        "0d327da20b2db0b9ed1bc4021ef9e41f2787f2f9df9dfb2655f4bacd0a4ed5eb9ffb317fc8d99bc7"
        "74bc5cc9f1aefc5a2b5f23ff9881730923d9ec302738eda4584e75ac0bb10d4b129fbd814f7d1ae8"
        "482b67270994a0ae70af59357418b762474dced2e843406a1f46fd7b82be47286cc405b0736b2ca5"
        "cd4f"
    ),
    1024: (
        "0006d68fc505eb799c5ac937934426d450ac8088718a9c5f14284676876ebfc803318c2e8842e82d"
        "89f5fd6539b827a2483a68a7af20d0e3a22c8ebe71606c05c68fee2755975933fa0a56d20f5f7297"
        "b751d6a891734e8db0aef295e8b0d505ec10b87fca70e21ef8f5ed49e6d64282933b86898c804a0b"
        "f687b54460bc5605bf8661a4e6085c4534c9c580745ac3d406d13fe2c7bfc669afda2dd5d9176c65"
        "f2d68e9efc8cf585f8c80e98512b15f7fdb192c2685fcd696a457a14ab145ef6e82d3b251b0e688f"
        "12981c353c52e4d04f3e355528dad66db3db9fd07f4b9332c7f4327cf200b03619077119e60ff613"
        "9b096e99ad9ed5fb4820ee55a6e6162290eb3b76415e867b0226d99a0692ea809fddd03ad8c34f1b"
        "e7083c5d317d2bd850b40603f893bbd3a043181004105d3e0afe"
    ),
}


@pytest.mark.parametrize(("size", "golden"), GOLDEN.items())
@pytest.mark.parametrize("kernel", ["", "none"])
def test_golden_bytes(monkeypatch, kernel, size, golden):
    monkeypatch.setenv("NCODEC_KERNEL", kernel)
    codes = golden_codes(size)
    payload = adaptive(codes, size).encode(codes)
    assert payload.hex() == golden
    assert np.array_equal(adaptive(codes, size).decode(payload, 40), codes)


def test_random_codes_cost_little_more_than_their_bits():
    codes = make_codes(5, (1, 8, 750), 1024, "random")
    assert bits_a_code(codes, 1024) < 10.04


def test_what_repeats_costs_little():
    assert bits_a_code(make_codes(6, (1, 8, 750), 1024, "constant"), 1024) < 0.1
    assert bits_a_code(make_codes(7, (1, 8, 750), 1024, "periodic"), 1024) < 0.3


def test_an_equal_second_stream_is_nearly_free():
    left = make_codes(8, (1, 4, 750), 1024, "random")
    both = np.concatenate([left, left])
    one, two = (len(adaptive(codes, 1024).encode(codes)) for codes in (left, both))
    assert two < one * 1.03


def test_memory_layout_and_type_do_not_matter():
    codes = make_codes(9, (2, 3, 50), 1000, "repeating")
    payload = adaptive(codes, 1000).encode(codes)
    doubled = np.repeat(codes, 2, axis=2)[:, :, ::2]
    for same in (np.asfortranarray(codes), doubled, codes.astype(np.uint16), codes.astype(">i4")):
        assert adaptive(codes, 1000).encode(same) == payload


def test_a_dependent_packet_needs_one_before_it():
    codes = make_codes(11, (1, 2, 5), 16, "random")
    with pytest.raises(UsageError, match="needs a packet before it"):
        adaptive(codes, 16).encode(codes, dependent=True)
    with pytest.raises(PayloadError, match="was not decoded"):
        adaptive(codes, 16).decode(b"", 5, dependent=True)


def test_no_context_is_left_by_a_packet_that_failed():
    codes = make_codes(12, (1, 2, 5), 16, "random")
    encoder, decoder = adaptive(codes, 16), adaptive(codes, 16)
    decoder.decode(encoder.encode(codes), 5)
    follower = encoder.encode(codes, dependent=True)
    with pytest.raises(PayloadError, match="last byte"):
        decoder.decode(follower + b"\0", 5, dependent=True)
    with pytest.raises(PayloadError, match="was not decoded"):
        decoder.decode(follower, 5, dependent=True)


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


@settings(deadline=None, max_examples=200)
@given(
    payload=st.binary(max_size=80),
    n_frames=st.integers(0, 40),
    size=st.sampled_from([2, 100, 1024]),
    n_streams=st.integers(1, 2),
)
def test_any_bytes_decode_or_raise_payload_error(payload, n_frames, size, n_streams):
    coder = open_coder("adaptive", n_streams=n_streams, n_codebooks=2, codebook_size=size)
    try:
        codes = coder.decode(payload, n_frames)
    except PayloadError:
        return
    assert codes.shape == (n_streams, 2, n_frames)
    assert not codes.size or (codes.min() >= 0 and codes.max() < size)


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
