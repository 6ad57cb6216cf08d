"""Both ways through the frames find the same frequencies, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_network import TINY, random_network, random_tensors

from ncodec.entropy.incremental import TorchDecoder, begin
from ncodec.entropy.layout import EntropyConfig
from ncodec.entropy.network import Network, build
from ncodec.entropy.numpy_decoder import NumpyDecoder
from ncodec.entropy.torch_ops import small_products_are_right
from ncodec.hub.entropy_models import installed, load_network

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def check_same(network: Network, n_packets: int, n_streams: int, n_q: int, seed: int) -> None:
    """Over the network's window and more; half way, packets end."""
    both = [kind(network, n_packets, n_streams, n_q) for kind in (TorchDecoder, NumpyDecoder)]
    rng = np.random.RandomState(seed % 2**32)
    n_frames = 2 * network.config.window + 3
    with torch.inference_mode():
        for frame in range(n_frames):
            if frame == n_frames // 2:
                n_packets = (n_packets + 1) // 2
                for steps in both:
                    steps.keep(n_packets)
            for steps in both:
                steps.advance()
            for stream in range(n_streams):
                for q in range(n_q):
                    expected, found = (steps.frequencies(stream, q) for steps in both)
                    assert found.dtype == expected.dtype == np.float32
                    assert np.array_equal(found, expected)
                    codes = rng.randint(0, network.config.codebook_size, n_packets)
                    for steps in both:
                        steps.append(stream, q, codes)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    wild=st.booleans(),
    n_packets=st.integers(1, 20),
    n_streams=st.integers(1, 3),
    n_q=st.integers(1, 4),
)
def test_random_networks(seed: int, wild: bool, n_packets: int, n_streams: int, n_q: int) -> None:
    check_same(random_network(TINY, seed, wild=wild), n_packets, n_streams, n_q, seed)


@pytest.mark.parametrize("wild", [False, True], ids=["tame", "wild"])
def test_8_bit_products(wild: bool) -> None:
    config = EntropyConfig(
        n_codebooks=2, codebook_size=256, width=128, n_layers=2, n_heads=4, window=8, hidden=384,
        head_hidden=96,
    )  # fmt: skip
    small = small_products_are_right([(96, 128), (256, 96)])
    tensors = {n: t.float() for n, t in random_tensors(config, 6, wild=wild).items()}
    for n_packets in (1, 17):
        check_same(build(config, tensors, small=small), n_packets, 1, 2, 6)


@pytest.mark.parametrize("value", [-127, 127])
@pytest.mark.parametrize("shift", [0, 20])
def test_extreme_weights(value: int, shift: int) -> None:
    """All weights at one end: sums, streams and scores run into their limits."""
    config = replace(TINY, window=3)
    tensors = random_tensors(config, 2, wild=True)
    for name, tensor in tensors.items():
        if name.endswith(".shift"):
            tensor.fill_(min(shift, 8) if name == "vectors.shift" else shift)
        elif tensor.dtype == torch.int8:
            tensor.fill_(value)
    network = build(config, {name: tensor.float() for name, tensor in tensors.items()})
    check_same(network, 2, 2, 4, 0)


@pytest.mark.parametrize(("n_packets", "n_streams"), [(1, 1), (2, 2), (17, 1)])
def test_trained_networks(n_packets: int, n_streams: int) -> None:
    models = installed()
    assert models
    for model in models[:2]:
        check_same(load_network(model), n_packets, n_streams, model.n_codebooks, 1)


@pytest.mark.parametrize("device", DEVICES)
def test_the_way_is_chosen_by_the_device(device: str) -> None:
    tensors = random_tensors(TINY, 1)
    network = build(TINY, {name: tensor.float().to(device) for name, tensor in tensors.items()})
    kind = NumpyDecoder if device == "cpu" else TorchDecoder
    assert type(begin(network, 1, 1, 4)) is kind
