import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncodec.entropy import open_coder
from ncodec.errors import PayloadError, UsageError

SIZES = [2, 3, 16, 1000, 1024, 65536]


def packed(n_streams=1, n_codebooks=2, codebook_size=1024):
    return open_coder(
        "packed", n_streams=n_streams, n_codebooks=n_codebooks, codebook_size=codebook_size
    )


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_streams=st.integers(1, 3),
    n_codebooks=st.integers(1, 16),
    n_frames=st.integers(0, 40),
    size=st.sampled_from(SIZES),
)
def test_round_trip(seed, n_streams, n_codebooks, n_frames, size):
    shape = n_streams, n_codebooks, n_frames
    codes = np.random.default_rng(seed).integers(0, size, shape)
    coder = packed(n_streams, n_codebooks, size)
    payload = coder.encode(codes)
    width = (size - 1).bit_length()
    assert len(payload) == -(-codes.size * width // 8)
    decoded = coder.decode(payload, n_frames)
    assert decoded.dtype == np.int64
    assert np.array_equal(decoded, codes)


def test_round_trip_over_many_chunks():
    codes = np.random.default_rng(0).integers(0, 1000, (2, 3, 30011))
    coder = packed(2, 3, 1000)
    assert np.array_equal(coder.decode(coder.encode(codes), 30011), codes)


def test_golden_bytes_frame_by_frame_then_stream_then_codebook():
    codes = np.array([[[0x3FF, 0x000], [0x001, 0x2AA]], [[0x155, 0x200], [0x000, 0x3FF]]])
    payload = packed(n_streams=2).encode(codes)
    in_order = [0x3FF, 0x001, 0x155, 0x000, 0x000, 0x2AA, 0x200, 0x3FF]
    bits = "".join(f"{code:010b}" for code in in_order)
    assert payload == int(bits, 2).to_bytes(10, "big")
    assert payload.hex() == "ffc0155400002aa803ff"


@pytest.mark.parametrize(
    ("size", "golden"),
    [(2, "a0"), (3, "44"), (16, "1010"), (1000, "00400004"), (65536, "000100000001")],
)
def test_golden_bytes_of_every_width(size, golden):
    assert packed(1, 1, size).encode(np.array([[[1, 0, 1]]])).hex() == golden


def test_a_prefix_of_the_payload_holds_the_first_frames():
    codes = np.random.default_rng(1).integers(0, 1024, (1, 4, 10))
    coder = packed(1, 4)
    payload = coder.encode(codes)
    assert np.array_equal(coder.decode(payload[:20], 4), codes[:, :, :4])


def test_dependent_packets_are_like_any_other():
    codes = np.random.default_rng(2).integers(0, 1024, (1, 2, 5))
    coder = packed()
    assert coder.encode(codes, dependent=True) == coder.encode(codes)


def test_memory_layout_and_type_do_not_matter():
    codes = np.random.default_rng(3).integers(0, 1024, (2, 2, 9))
    coder = packed(n_streams=2)
    payload = coder.encode(codes)
    swapped = np.ascontiguousarray(codes.transpose(2, 0, 1)).transpose(1, 2, 0)
    for same in (np.asfortranarray(codes), swapped, codes.astype(np.uint16), codes.astype(">i4")):
        assert coder.encode(same) == payload


@pytest.mark.parametrize("change", [-1, 1])
def test_refuses_another_length(change):
    coder = packed()
    payload = coder.encode(np.zeros((1, 2, 5), np.int64))
    wrong = payload + b"\0" if change > 0 else payload[:-1]
    with pytest.raises(PayloadError, match="expected 13 bytes"):
        coder.decode(wrong, 5)


def test_refuses_filling_bits_that_are_not_zero():
    coder = packed()
    payload = coder.encode(np.zeros((1, 2, 5), np.int64))
    with pytest.raises(PayloadError, match="not zero"):
        coder.decode(payload[:-1] + b"\x01", 5)


def test_refuses_a_code_that_is_not_in_the_codebook():
    with pytest.raises(PayloadError, match="code 1023, expected 0 to 999"):
        packed(1, 1, 1000).decode(b"\xff\xc0", 1)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((1, 2, 3)), "type float64"),
        (np.zeros((2, 3), np.int64), r"shape \[2, 3\]"),
        (np.zeros((2, 2, 3), np.int64), r"shape \[2, 2, 3\]"),
        (np.full((1, 2, 3), -1), "found -1 to -1"),
        (np.full((1, 2, 3), 1024), "found 1024 to 1024"),
    ],
)
def test_refuses_codes_that_do_not_fit(codes, message):
    with pytest.raises(UsageError, match=message):
        packed().encode(codes)


@settings(deadline=None, max_examples=200)
@given(payload=st.binary(max_size=40), n_frames=st.integers(0, 12), size=st.sampled_from(SIZES))
def test_any_bytes_decode_or_raise_payload_error(payload, n_frames, size):
    coder = packed(1, 2, size)
    try:
        codes = coder.decode(payload, n_frames)
    except PayloadError:
        return
    assert coder.encode(codes) == payload
