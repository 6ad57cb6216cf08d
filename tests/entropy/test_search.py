"""Codes by distortion and bits: what they cost, and that nothing but the packet decides them."""

import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_network import TINY, random_network, random_tensors
from torch import Tensor

from ncodec import native
from ncodec.entropy.layout import EntropyConfig
from ncodec.entropy.network import Network
from ncodec.entropy.search import RateDistortionSearch
from ncodec.entropy.torch_ops import frequencies
from ncodec.entropy.torch_search import Beams, Prices, Stage, contexts, nearest
from ncodec.entropy.transformer import TransformerCoder
from ncodec.native.kernel import Model
from ncodec.native.networks import Codebooks
from ncodec.nn.rvq import ResidualVectorQuantiser

DIM = 8
N_Q = 4
MEDIUM = EntropyConfig(
    n_codebooks=4, codebook_size=256, width=48, n_layers=2, n_heads=3, window=16, hidden=96,
    head_hidden=40,
)  # fmt: skip


path: str | None = None  # of the kernel, that searches; None for torch


@pytest.fixture(autouse=True, params=[None, *native.paths()], ids=lambda name: name or "torch")
def _by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "path", request.param)


class KernelQuantiser(ResidualVectorQuantiser):
    """Codebooks that a path of the kernel searches."""

    def encode(self, latents: Tensor, n_q: int, search: Any = 1) -> Tensor:
        books, rows = Codebooks(self.codebooks.numpy(), str(path)), latents.detach().numpy()
        if isinstance(search, int):
            found = [books.search(each, n_q, search) for each in rows]
        else:
            found = search.by_kernel(rows, books, n_q)
        return torch.from_numpy(np.stack(found)).long().transpose(1, 2)


def quantiser(size: int = TINY.codebook_size, seed: int = 0) -> ResidualVectorQuantiser:
    """Codebooks of which each is smaller than the one before."""
    torch.manual_seed(seed)
    kind = KernelQuantiser if path else ResidualVectorQuantiser
    made = kind(N_Q, size, DIM)
    made.codebooks.mul_(0.7 ** torch.arange(N_Q)[:, None, None])
    return made


def tame_network(config: EntropyConfig, seed: int, *, remembers: bool = False) -> Network:
    """A network whose codes differ by some bits, as those of trained ones do.

    One that does not remember the frames before is right about the prices of a frame before those
    of the others are settled.
    """
    tensors = random_tensors(config, seed)
    tensors["heads.out.shift"] += 3
    if not remembers:
        tensors["frame"][:] = 0
    return Network(config, tensors, Model(config, tensors, path) if path else None)


def noise(n_packets: int, n_frames: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_packets, n_frames, DIM, generator=generator)


def bits(network: Network, codes: Tensor) -> float:
    """What the entropy coder makes of key packets of codes [P, Q, F]."""
    coder = TransformerCoder(
        n_streams=1, n_codebooks=codes.shape[1], codebook_size=network.config.codebook_size,
        network=network,
    )  # fmt: skip
    return 8.0 * sum(len(coder.encode(packet[None].numpy())) for packet in codes)


def cost(
    network: Network, made: ResidualVectorQuantiser, latents: Tensor, codes: Tensor, share: float
) -> float:
    """What the search is to make small."""
    error = (latents - made.decode(codes)).square().sum().item()
    energy = latents.square().sum(2).mean().item()
    return error + share * energy * bits(network, codes)


@pytest.mark.parametrize("size", [TINY, MEDIUM])
@pytest.mark.parametrize("q", [0, 3])
def test_prices_are_the_bits_that_the_coder_spends(size: EntropyConfig, q: int) -> None:
    network = tame_network(size, 4)
    codebook = quantiser(size.codebook_size).codebooks[q]
    hidden = torch.randint(-9000, 9000, (20, size.width)).float()
    table = frequencies(network.torch.logits(hidden, q), network.torch.heads[q].shift).double()
    true = -(table / table.sum(1, keepdim=True)).log2()
    beams = Beams(torch.ones(20, DIM + 2), hidden, torch.full((20, 1), 7.0))
    found, parents, codes = Stage(Prices(network, q + 1, "cpu"), q, codebook).extend(
        beams, torch.zeros(20), size.codebook_size
    )
    assert not parents.any()
    likely = true < 15  # below, a frequency is a small whole number
    charged = torch.zeros_like(true).scatter_(1, codes, found.rate.double()) - 7
    assert (charged - true)[likely].abs().max() < 0.2  # two powers, each straight between octaves
    assert likely.double().mean() > 0.4


@pytest.mark.parametrize("size", [TINY, MEDIUM])
@pytest.mark.parametrize("n_passes", [1, 2])
def test_costs_less_than_codes_that_come_nearest(size: EntropyConfig, n_passes: int) -> None:
    for seed in range(3):
        network, made = tame_network(size, seed), quantiser(size.codebook_size, seed)
        latents = noise(2, 60, seed)
        for share in (0.002, 0.01, 0.05):
            search = RateDistortionSearch(network, share, 8, n_passes)
            found = cost(network, made, latents, made.encode(latents, N_Q, search), share)
            for width in (1, 8):
                plain = made.encode(latents, N_Q, width)
                assert found < cost(network, made, latents, plain, share)


def test_a_bit_that_is_worth_more_leaves_fewer() -> None:
    network, made, latents = tame_network(MEDIUM, 1), quantiser(256), noise(1, 100)
    spent, errors = [], []
    for share in (0.0, 0.002, 0.01, 0.05, 0.25):
        codes = made.encode(latents, N_Q, RateDistortionSearch(network, share, 6))
        spent.append(bits(network, codes))
        errors.append((latents - made.decode(codes)).square().sum().item())
    assert spent == sorted(spent, reverse=True)
    assert errors == sorted(errors)
    assert spent[-1] < 0.7 * spent[0]


@pytest.mark.parametrize("width", [1, 3, 8])
def test_bits_of_no_worth_leave_the_plain_search(width: int) -> None:
    network, made, latents = random_network(TINY, 2, path=path), quantiser(), noise(3, 40)
    found = made.encode(latents, N_Q, RateDistortionSearch(network, 0.0, width))
    assert torch.equal(found, made.encode(latents, N_Q, width))


def test_a_wide_beam_finds_the_best_codes_there_are() -> None:
    network, made, size = tame_network(TINY, 3), quantiser(), TINY.codebook_size
    by_torch = network.torch
    every = torch.cartesian_prod(torch.arange(size), torch.arange(size))[:, :, None]  # [K K, 2, 1]
    for seed in range(5):
        latents, share = noise(1, 1, seed), 0.02
        found = made.encode(latents, 2, RateDistortionSearch(network, share, size))
        hidden = contexts(by_torch, every)[:, 0]
        spent = torch.zeros(len(every))
        for q in range(2):
            table = frequencies(by_torch.logits(hidden.clone(), q), by_torch.heads[q].shift).float()
            spent -= (table.gather(1, every[:, q]) / table.sum(1, keepdim=True)).log2()[:, 0]
            hidden = hidden + by_torch.vectors[q][every[:, q, 0]]
        error = (latents - made.decode(every)).square().sum((1, 2))
        costs = error + share * latents.square().sum() * spent
        place = int(found[0, 0, 0] * size + found[0, 1, 0])
        assert costs[place] <= costs.min() + 1e-3 * costs.min()


@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=4),
    n_q=st.integers(1, N_Q),
    width=st.integers(1, 9),
    seed=st.integers(0, 9),
)
def test_packets_do_not_see_each_other(lengths: list[int], n_q: int, width: int, seed: int) -> None:
    network, made = tame_network(TINY, seed, remembers=True), quantiser(seed=seed)
    search = RateDistortionSearch(network, 0.01, width, 2)
    n_frames = max(lengths)
    latents = noise(len(lengths), n_frames, seed) * torch.arange(1, len(lengths) + 1)[:, None, None]
    together = made.encode(latents, n_q, search)
    assert together.shape == (len(lengths), n_q, n_frames)
    for codes, packet in zip(together, latents, strict=True):
        assert torch.equal(made.encode(packet[None], n_q, search)[0], codes)


def test_the_size_of_latents_does_not_matter() -> None:
    network, made, latents = tame_network(TINY, 5, remembers=True), quantiser(), noise(1, 50)
    search = RateDistortionSearch(network, 0.01, 4)
    codes = made.encode(latents, N_Q, search)
    made.codebooks.mul_(2**10)
    assert torch.equal(made.encode(latents * 2**10, N_Q, search), codes)


@pytest.mark.parametrize("seed", range(4))
def test_wild_networks_and_latents_make_codes_all_the_same(seed: int) -> None:
    network, made = random_network(TINY, seed, wild=True, path=path), quantiser()
    exact = made.codebooks[0][torch.arange(10) % 16][None]
    for latents in (noise(2, 10), torch.zeros(1, 10, DIM), exact, noise(1, 10) * 1e-20):
        for share in (0.0, 0.01, 100.0):
            codes = made.encode(latents, N_Q, RateDistortionSearch(network, share, 5, 2))
            assert codes.shape == (len(latents), N_Q, 10)
            assert int(codes.min()) >= 0
            assert int(codes.max()) < 16
            bits(network, codes)


def test_no_frames_make_no_codes() -> None:
    search = RateDistortionSearch(random_network(TINY, 0, path=path), 0.01, 4)
    assert quantiser().encode(noise(2, 0), 3, search).shape == (2, 3, 0)


def test_the_callers_settings_do_not_matter() -> None:
    network, made, latents = random_network(TINY, 5, path=path), quantiser(), noise(1, 50)
    search = RateDistortionSearch(network, 0.01, 4)
    codes = made.encode(latents, N_Q, search)
    with torch.autocast("cpu", torch.bfloat16):
        found = made.encode(latents.clone().requires_grad_(), N_Q, search)
    assert torch.equal(found, codes)
    with torch.inference_mode():
        assert torch.equal(made.encode(latents, N_Q, search), codes)


def test_nearest_codes_and_what_they_leave() -> None:
    made, latents = quantiser(), noise(2, 30)
    codes, errors = nearest(latents, made.codebooks)
    assert torch.equal(codes, made.encode(latents, N_Q, 1))
    for q in range(N_Q):
        left = (latents - made.decode(codes[:, : q + 1])).square().sum(2).mean(1)
        np.testing.assert_allclose(errors[:, q], left, rtol=1e-4)


def test_the_kernel_finds_what_torch_finds() -> None:
    latents, search = noise(2, 120), RateDistortionSearch(tame_network(MEDIUM, 4), 0.01, 5, 2)
    made = quantiser(256, 4)
    for width in (1, 2, 16, 64):
        wanted = ResidualVectorQuantiser.encode(made, latents, N_Q, width)
        assert torch.equal(made.encode(latents, N_Q, width), wanted)
    wanted = ResidualVectorQuantiser.encode(made, latents, N_Q, search)
    same = made.encode(latents, N_Q, search) == wanted  # but where two ways cost the same
    assert same.double().mean() > 0.995


def test_latents_that_are_no_numbers_make_codes_all_the_same() -> None:
    network, made = tame_network(TINY, 0), quantiser()
    for value in (float("nan"), float("inf"), 3e38):
        latents = noise(1, 9)
        latents[0, 4] = value
        for search in (1, 7, RateDistortionSearch(network, 0.01, 5)):
            codes = made.encode(latents, N_Q, search)
            assert 0 <= int(codes.min()) <= int(codes.max()) < 16
