import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_coders import ReferenceMixedDecoder

from ncodec.entropy import open_coder
from ncodec.entropy.mixed import MixedCoder
from ncodec.errors import LimitExceeded, PayloadError, UsageError


def mixed(codes, codebook_size):
    n_streams, n_codebooks, _ = codes.shape
    return MixedCoder(n_streams=n_streams, n_codebooks=n_codebooks, codebook_size=codebook_size)


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
    return len(mixed(codes, size).encode(codes)) * 8 / codes.size


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
    encoder, decoder = mixed(codes, 30), mixed(codes, 30)
    for packet, dependent in zip(packets, dependents, strict=False):
        payload = encoder.encode(packet, dependent=dependent)
        if not dependent:
            assert payload == mixed(codes, 30).encode(packet)
        decoded = decoder.decode(payload, packet.shape[2], dependent=dependent)
        assert np.array_equal(decoded, packet)


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


def golden_codes(size):
    step = np.arange(2 * 3 * 40).reshape(2, 3, 40)
    return (step // 3 * step // 5 + step % 7) % size


GOLDEN = {
    2: "737648cbb81d9edc8b826b2c6c9e549719888e1c706e2387b15d56adf01b",
    16: (
        "0d31644e0e3a6f1ef074b3863443eacc3dadbd039cdf5363e37eecf6d03410fc22ab6dc4b999ba2c"
        "d9c181513de17c4b09c8f54632a8d52cbf0d21426daaadaea004b7e87f3b5797f149571ebdc2e491"
        "4b4d41a0fd42e145174ff76863a5a41101c48692ff83a64a6ea02ba6fa9f6bf07b1a61ab6d59dadf"
        "4fef54f80071c92a8c25a9"
    ),
    1000: (
        "0006d68fbb4ed06bf87c7cabaec630edc57268c04c2adf9380bff3a673d3f8d1aeec670db78b3b2d"
        "86bd752ba1330c76461b03f4210469a46719bd36e5b7d02bed0415bb05db17ec95c375e43c18cd5b"
        "f4edc317f54e7a5c51b98734b3b32346904ad125e9c6f44e732568e093355fca8ac1c7e88748c60e"
        "79793b06544f1c46e4c44c444637d0c509a90ce6ab090de1ccb6a770c78ee780022022ebc3792567"
        "3aac56f48798499e2cede53518c32dcb2c123a26a57dec01fb86e6aaa52d63a0ff378f5556c465c4"
        "76f7558c1338ba2f4136fb4f7dc8d4f5342f6d0a56d5aeb655c9ab4b4f2c9479f185714f9dec4481"
        "6d8586379ebe4e6797ade18e3d4764606615798720ccb2f02cc25e20d5adb61fe774efe4fc02b0f2"
        "43fff8ea0637b06392fbe6283148fc2da5"
    ),
}


@pytest.mark.parametrize(("size", "golden"), GOLDEN.items())
@pytest.mark.parametrize("kernel", ["", "none"])
def test_golden_bytes(monkeypatch, kernel, size, golden):
    monkeypatch.setenv("NCODEC_KERNEL", kernel)
    codes = golden_codes(size)
    payload = mixed(codes, size).encode(codes)
    assert payload.hex() == golden
    assert np.array_equal(mixed(codes, size).decode(payload, 40), codes)


def test_random_codes_cost_little_more_than_their_bits():
    codes = make_codes(5, (1, 8, 750), 1024, "random")
    assert bits_a_code(codes, 1024) < 10.04


def test_what_repeats_costs_little():
    assert bits_a_code(make_codes(6, (1, 8, 750), 1024, "constant"), 1024) < 0.1
    assert bits_a_code(make_codes(7, (1, 8, 750), 1024, "periodic"), 1024) < 0.3


def test_an_equal_second_stream_is_nearly_free():
    left = make_codes(8, (1, 4, 750), 1024, "random")
    both = np.concatenate([left, left])
    one, two = (len(mixed(codes, 1024).encode(codes)) for codes in (left, both))
    assert two < one * 1.03


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


def test_memory_layout_and_type_do_not_matter():
    codes = make_codes(9, (2, 3, 50), 1000, "repeating")
    payload = mixed(codes, 1000).encode(codes)
    doubled = np.repeat(codes, 2, axis=2)[:, :, ::2]
    for same in (np.asfortranarray(codes), doubled, codes.astype(np.uint16), codes.astype(">i4")):
        assert mixed(codes, 1000).encode(same) == payload


def test_a_dependent_packet_needs_one_before_it():
    codes = make_codes(11, (1, 2, 5), 16, "random")
    with pytest.raises(UsageError, match="mixed coder: a dependent packet needs a packet before"):
        mixed(codes, 16).encode(codes, dependent=True)
    with pytest.raises(PayloadError, match="was not decoded"):
        mixed(codes, 16).decode(b"", 5, dependent=True)


def test_no_context_is_left_by_a_packet_that_failed():
    codes = make_codes(12, (1, 2, 5), 16, "random")
    encoder, decoder = mixed(codes, 16), mixed(codes, 16)
    decoder.decode(encoder.encode(codes), 5)
    follower = encoder.encode(codes, dependent=True)
    with pytest.raises(PayloadError, match="last byte"):
        decoder.decode(follower + b"\0", 5, dependent=True)
    with pytest.raises(PayloadError, match="was not decoded"):
        decoder.decode(follower, 5, dependent=True)


def test_limits():
    open_coder("mixed", n_streams=64, n_codebooks=128, codebook_size=2)
    with pytest.raises(LimitExceeded, match="the limit is 8192"):
        open_coder("mixed", n_streams=65, n_codebooks=128, codebook_size=2)
    coder = open_coder("mixed", n_streams=1, n_codebooks=2, codebook_size=1000)
    with pytest.raises(PayloadError, match="69 bytes are too many for 20 symbols"):
        coder.decode(bytes(68) + b"\1", 1)


@settings(deadline=None, max_examples=200)
@given(
    payload=st.binary(max_size=80),
    n_frames=st.integers(0, 40),
    size=st.sampled_from([2, 100, 1024]),
    n_streams=st.integers(1, 2),
)
def test_any_bytes_decode_or_raise_payload_error(payload, n_frames, size, n_streams):
    coder = open_coder("mixed", n_streams=n_streams, n_codebooks=2, codebook_size=size)
    try:
        codes = coder.decode(payload, n_frames)
    except PayloadError:
        return
    assert codes.shape == (n_streams, 2, n_frames)
    assert not codes.size or (codes.min() >= 0 and codes.max() < size)
