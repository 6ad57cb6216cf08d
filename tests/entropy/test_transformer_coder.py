"""The transformer coder: payloads, contexts, damage, and an independent decoder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_network import TINY, Arrays, random_network, random_tensors
from reference_coders import ReferenceTransformerDecoder

from ncodec.entropy.network import Network
from ncodec.entropy.torch_network import TorchNetwork
from ncodec.entropy.transformer import TransformerCoder
from ncodec.errors import LimitExceeded, PayloadError, UsageError
from ncodec.native.kernel import MAX_ROWS

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
GOLDEN = Path(__file__).parents[1] / "golden" / "transformer"


def open_coder(n_streams: int = 1, n_codebooks: int = 4, network: Network | None = None):
    return TransformerCoder(
        n_streams=n_streams, n_codebooks=n_codebooks, codebook_size=TINY.codebook_size,
        network=network or random_network(TINY, 1),
    )  # fmt: skip


def random_codes(seed: int, *shape: int) -> np.ndarray:
    return np.random.RandomState(seed % 2**32).randint(0, TINY.codebook_size, shape)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    wild=st.booleans(),
    n_streams=st.integers(1, 3),
    n_codebooks=st.integers(1, 4),
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=4),
)
def test_round_trip_with_dependent_packets(
    seed: int, wild: bool, n_streams: int, n_codebooks: int, lengths: list[int]
) -> None:
    network = random_network(TINY, seed, wild=wild)
    encoder, decoder = (open_coder(n_streams, n_codebooks, network) for _ in range(2))
    for number, length in enumerate(lengths):
        codes = random_codes(seed + number, n_streams, n_codebooks, length)
        payload = encoder.encode(codes, dependent=number > 0)
        assert np.array_equal(decoder.decode(payload, length, dependent=number > 0), codes)


@pytest.mark.parametrize("n_streams", [1, 2])
def test_the_first_frames_of_a_packet(n_streams: int) -> None:
    codes = random_codes(5, n_streams, 4, 300)
    payload, coder = open_coder(n_streams).encode(codes), open_coder(n_streams)
    for first in (1, 37, 300):
        assert np.array_equal(coder.decode_start(payload, 300, first), codes[:, :, :first])
    with pytest.raises(PayloadError, match="the packet before"):  # no context is left
        coder.decode(payload, 300, dependent=True)
    with pytest.raises(PayloadError, match="too many for"):
        coder.decode_start(payload * 9, 300, 300)


@pytest.mark.parametrize("n_streams", [1, 2])
def test_packets_side_by_side_are_those_one_by_one(n_streams: int) -> None:
    """Short ones of any length, some of which make more than one group, and long ones."""
    network = random_network(TINY, 3)
    lengths = [5, 0, 40, 1, 40, 600, 200, 40, 64, 39, 256, 257]
    packets = [random_codes(n, n_streams, 4, n) for n in lengths]
    coder = open_coder(n_streams, 4, network)
    alone = [open_coder(n_streams, 4, network).encode(codes) for codes in packets]
    assert coder.encode_many(packets) == alone
    assert coder.encode_many([]) == []
    with pytest.raises(UsageError, match="dependent"):
        coder.encode(packets[0], dependent=True)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    wild=st.booleans(),
    n_streams=st.integers(1, 3),
    n_codebooks=st.integers(1, 4),
    same=st.booleans(),
)
def test_the_written_text_decodes_it(
    seed: int, wild: bool, n_streams: int, n_codebooks: int, same: bool
) -> None:
    """A decoder in NumPy int64, written from the specification alone, finds the same codes."""
    tensors = random_tensors(TINY, seed, wild=wild)
    network = Network(TINY, tensors)
    encoder = open_coder(n_streams, n_codebooks, network)
    reference = reference_decoder(tensors, n_streams, n_codebooks)
    for number, length in enumerate((9, 1, 7)):
        codes = random_codes(seed + number, n_streams, n_codebooks, length)
        if same:
            codes[1:] = codes[:1]
        payload = encoder.encode(codes, dependent=number > 0)
        assert np.array_equal(reference.decode(payload, length, dependent=number > 0), codes)


def reference_decoder(
    arrays: Arrays, n_streams: int, n_codebooks: int
) -> ReferenceTransformerDecoder:
    return ReferenceTransformerDecoder(arrays, TINY.n_heads, TINY.window, n_streams, n_codebooks)


@pytest.mark.parametrize("n_streams", [1, 2])
@pytest.mark.parametrize("kind", ["random", "repeated"])
def test_golden_payloads(
    check_golden: Callable[[Path, bytes], None], n_streams: int, kind: str
) -> None:
    """Model and codes follow from small numbers, so that the golden file is the payload alone."""
    codes = random_codes(7, n_streams, 4, 40)
    if kind == "repeated":
        codes[:, :, 4:] = codes[:, :, :1]
    tensors = random_tensors(TINY, 20)
    network = Network(TINY, tensors)
    path = GOLDEN / f"{kind}_{n_streams}.payload"
    check_golden(path, open_coder(n_streams, 4, network).encode(codes))
    reference = reference_decoder(tensors, n_streams, 4)
    assert np.array_equal(reference.decode(path.read_bytes(), 40), codes)


def test_decodes_many_packets_in_any_order_and_number() -> None:
    lengths = [1, 30, 7, 7, 0, 30, 12] * 10
    assert len(lengths) > MAX_ROWS
    packets = [random_codes(number, 1, 4, length) for number, length in enumerate(lengths)]
    payloads = [open_coder().encode(codes) for codes in packets]
    for order in (1, -1):
        decoded = open_coder().decode_many(payloads[::order], lengths[::order])
        for codes, found in zip(packets[::order], decoded, strict=True):
            assert np.array_equal(codes, found)


def test_strided_codes_of_any_type_give_the_same_payload() -> None:
    codes = random_codes(3, 2, 4, 20)
    payload = open_coder(2).encode(codes)
    wide = np.repeat(np.repeat(codes, 2, axis=1), 3, axis=2)[:, ::2, ::3]
    turned = codes[..., ::-1][..., ::-1]
    for same in (wide, np.asfortranarray(codes), codes.astype(np.uint8), turned):
        assert open_coder(2).encode(same) == payload


def test_a_damaged_payload_among_many_harms_no_other() -> None:
    packets = [random_codes(number, 2, 4, 20) for number in range(5)]
    payloads = [open_coder(2).encode(codes) for codes in packets]
    payloads[1] += b"\0"
    payloads[3] = bytes(600 * [1])
    found = open_coder(2).decode_many(payloads, [20] * 5)
    assert [isinstance(codes, PayloadError) for codes in found] == [False, True, False, True, False]
    for number in (0, 2, 4):
        assert np.array_equal(found[number], packets[number])


def test_a_dependent_packet_needs_the_one_before() -> None:
    codes = random_codes(5, 1, 4, 6)
    with pytest.raises(UsageError, match="needs a packet before"):
        open_coder().encode(codes, dependent=True)
    decoder = open_coder()
    with pytest.raises(PayloadError, match="was not decoded"):
        decoder.decode(b"", 1, dependent=True)
    with pytest.raises(PayloadError):
        decoder.decode(b"\0", 1)
    with pytest.raises(PayloadError, match="was not decoded"):
        decoder.decode(b"", 1, dependent=True)


@settings(deadline=None, max_examples=60)
@given(payload=st.binary(max_size=60), n_streams=st.integers(1, 2))
def test_any_bytes_decode_or_raise_payload_error(payload: bytes, n_streams: int) -> None:
    try:
        codes = open_coder(n_streams).decode(payload, 12)
    except PayloadError:
        return
    assert codes.shape == (n_streams, 4, 12)
    assert 0 <= codes.min() <= codes.max() < TINY.codebook_size


def test_a_repeated_stream_costs_next_to_nothing() -> None:
    one = random_codes(6, 1, 4, 400)
    alone = len(open_coder(1).encode(one))
    both = len(open_coder(2).encode(np.concatenate([one, one])))
    assert both - alone < 0.03 * alone
    other = random_codes(8, 1, 4, 400)
    different = len(open_coder(2).encode(np.concatenate([one, other])))
    assert different - alone < 1.01 * len(open_coder(1).encode(other))


def test_serves_fewer_codebooks_than_its_own_but_not_more() -> None:
    with pytest.raises(UsageError, match="5 codebooks of 16 codes; its model has 4 of 16"):
        open_coder(1, 5)
    network = random_network(TINY, 1)
    with pytest.raises(UsageError, match="4 codebooks of 32 codes"):
        TransformerCoder(n_streams=1, n_codebooks=4, codebook_size=32, network=network)


@pytest.mark.parametrize("device", DEVICES)
def test_what_one_device_encodes_every_device_decodes(device: str) -> None:
    packets = [random_codes(number, 2, 4, 30) for number in range(3)]
    there, here = on_device(device), on_device("cpu")
    for one, other in ((there, here), (here, there)):
        payloads = [open_coder(2, 4, one).encode(codes) for codes in packets]
        decoded = open_coder(2, 4, other).decode_many(payloads, [30] * 3)
        assert all(np.array_equal(a, b) for a, b in zip(decoded, packets, strict=True))
        assert np.array_equal(open_coder(2, 4, other).decode(payloads[0], 30), packets[0])


def on_device(device: str) -> Network:
    return Network(TINY, random_tensors(TINY, 5), device=device)


def test_a_hopeless_payload_is_refused_before_the_network_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TorchNetwork, "advance", lambda *_: pytest.fail("ran"))
    with pytest.raises(PayloadError, match="last byte is zero"):
        open_coder().decode(b"\0", 100)
    with pytest.raises(PayloadError, match="700 bytes are too many for 200 symbols"):
        open_coder().decode(bytes(700 * [1]), 50)
    with pytest.raises(LimitExceeded, match="4097 frames; the limit is 4096"):
        open_coder().decode(b"", 4097)
    with pytest.raises(UsageError, match="at most 4096 frames in a packet, found 4097"):
        open_coder().encode(np.zeros((1, 4, 4097), int))


def test_no_context_is_left_of_packets_side_by_side() -> None:
    codes = random_codes(5, 1, 4, 6)
    payload = open_coder().encode(codes)
    decoder = open_coder()
    decoder.decode(payload, 6)
    decoder.decode_many([payload, payload], [6, 6])
    with pytest.raises(PayloadError, match="was not decoded"):
        decoder.decode(payload, 6, dependent=True)


def test_limits_come_before_memory() -> None:
    with pytest.raises(LimitExceeded):
        open_coder().decode(b"", 1 << 40)
    with pytest.raises(LimitExceeded):
        open_coder().decode_many([b""], [1 << 40])


def test_callers_settings_are_left_alone() -> None:
    threads = torch.get_num_threads()
    codes = random_codes(9, 1, 4, 10)
    payload = open_coder().encode(codes)
    assert torch.is_grad_enabled()
    with torch.autocast("cpu", torch.bfloat16):
        assert open_coder().encode(codes) == payload
        assert np.array_equal(open_coder().decode(payload, 10), codes)
    assert torch.get_num_threads() == threads
