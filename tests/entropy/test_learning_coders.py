"""What the coders that learn have in common: adaptive and mixed."""

import numpy as np
import pytest
from code_patterns import KINDS, make_codes
from hypothesis import given, settings
from hypothesis import strategies as st

from ncodec.entropy import open_coder
from ncodec.errors import PayloadError

CODERS = ("adaptive", "mixed")
of_each = pytest.mark.parametrize("name", CODERS)


def opened(name, codes, codebook_size):
    n_streams, n_codebooks, _ = codes.shape
    return open_coder(
        name, n_streams=n_streams, n_codebooks=n_codebooks, codebook_size=codebook_size
    )


def bits_a_code(name, codes, size):
    return len(opened(name, codes, size).encode(codes)) * 8 / codes.size


@of_each
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    keys=st.lists(st.booleans(), min_size=6, max_size=6),
    kind=st.sampled_from(KINDS),
)
def test_dependent_packets_decode_in_order(name, seed, lengths, keys, kind):
    codes = make_codes(seed, (2, 2, sum(lengths)), 30, kind)
    packets = np.split(codes, np.cumsum(lengths)[:-1], axis=2)
    dependents = [False, *(not key for key in keys)]
    encoder, decoder = opened(name, codes, 30), opened(name, codes, 30)
    for packet, dependent in zip(packets, dependents, strict=False):
        payload = encoder.encode(packet, dependent=dependent)
        if not dependent:
            assert payload == opened(name, codes, 30).encode(packet)
        decoded = decoder.decode(payload, packet.shape[2], dependent=dependent)
        assert np.array_equal(decoded, packet)


def golden_codes(size):
    step = np.arange(2 * 3 * 40).reshape(2, 3, 40)
    return (step // 3 * step // 5 + step % 7) % size


ADAPTIVE = {
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


MIXED = {
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


@pytest.mark.parametrize(
    ("name", "size", "golden"),
    [
        *(("adaptive", *one) for one in ADAPTIVE.items()),
        *(("mixed", *one) for one in MIXED.items()),
    ],
)
@pytest.mark.parametrize("kernel", ["", "none"])
def test_golden_bytes(monkeypatch, kernel, name, size, golden):
    monkeypatch.setenv("NCODEC_KERNEL", kernel)
    codes = golden_codes(size)
    payload = opened(name, codes, size).encode(codes)
    assert payload.hex() == golden
    assert np.array_equal(opened(name, codes, size).decode(payload, 40), codes)


@of_each
def test_random_codes_cost_little_more_than_their_bits(name):
    codes = make_codes(5, (1, 8, 750), 1024, "random")
    assert bits_a_code(name, codes, 1024) < 10.04


@of_each
def test_what_repeats_costs_little(name):
    assert bits_a_code(name, make_codes(6, (1, 8, 750), 1024, "constant"), 1024) < 0.1
    assert bits_a_code(name, make_codes(7, (1, 8, 750), 1024, "periodic"), 1024) < 0.3


@of_each
def test_an_equal_second_stream_is_nearly_free(name):
    left = make_codes(8, (1, 4, 750), 1024, "random")
    both = np.concatenate([left, left])
    one, two = (len(opened(name, codes, 1024).encode(codes)) for codes in (left, both))
    assert two < one * 1.03


@of_each
def test_memory_layout_and_type_do_not_matter(name):
    codes = make_codes(9, (2, 3, 50), 1000, "repeating")
    payload = opened(name, codes, 1000).encode(codes)
    doubled = np.repeat(codes, 2, axis=2)[:, :, ::2]
    for same in (np.asfortranarray(codes), doubled, codes.astype(np.uint16), codes.astype(">i4")):
        assert opened(name, codes, 1000).encode(same) == payload


@of_each
def test_no_context_is_left_by_a_packet_that_failed(name):
    codes = make_codes(12, (1, 2, 5), 16, "random")
    encoder, decoder = opened(name, codes, 16), opened(name, codes, 16)
    decoder.decode(encoder.encode(codes), 5)
    follower = encoder.encode(codes, dependent=True)
    with pytest.raises(PayloadError, match="last byte"):
        decoder.decode(follower + b"\0", 5, dependent=True)
    with pytest.raises(PayloadError, match="was not decoded"):
        decoder.decode(follower, 5, dependent=True)


@of_each
@settings(deadline=None, max_examples=200)
@given(
    payload=st.binary(max_size=80),
    n_frames=st.integers(0, 40),
    size=st.sampled_from([2, 100, 1024]),
    n_streams=st.integers(1, 2),
)
def test_any_bytes_decode_or_raise_payload_error(name, payload, n_frames, size, n_streams):
    coder = open_coder(name, n_streams=n_streams, n_codebooks=2, codebook_size=size)
    try:
        codes = coder.decode(payload, n_frames)
    except PayloadError:
        return
    assert codes.shape == (n_streams, 2, n_frames)
    assert not codes.size or (codes.min() >= 0 and codes.max() < size)
