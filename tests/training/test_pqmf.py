import math

import pytest
import torch

from ncodec.training.discriminators import FilterBankConfig
from ncodec.training.pqmf import Pqmf, prototype

SIZES = FilterBankConfig()
BANKS = [(bands, cutoff) for bands, cutoff in SIZES.banks if bands > 1]


def bank(n_bands: int, cutoff: float) -> Pqmf:
    return Pqmf(n_bands, SIZES.taps, cutoff, SIZES.beta)


def decibels(ratio: torch.Tensor) -> float:
    return float(10 * ratio.log10())


@pytest.mark.parametrize(("n_bands", "cutoff"), BANKS)
def test_synthesis_gives_back_what_was_split(n_bands: int, cutoff: float) -> None:
    torch.manual_seed(0)
    wav = torch.randn(2, 1, 9240)
    split = bank(n_bands, cutoff)
    bands = split(wav)
    assert bands.shape == (2, n_bands, 9240 // n_bands)
    error = (split.synthesis(bands) - wav)[..., 256:-256]
    assert decibels(wav.square().mean() / error.square().mean()) > 62  # 63 to 71


@pytest.mark.parametrize(("n_bands", "cutoff"), BANKS)
def test_energy_is_kept(n_bands: int, cutoff: float) -> None:
    torch.manual_seed(0)
    wav = torch.randn(1, 1, 46200)
    bands = bank(n_bands, cutoff)(wav)
    assert float(bands.square().sum() / wav.square().sum()) == pytest.approx(1, abs=0.01)


def test_a_tone_is_in_its_band_alone() -> None:
    split = bank(5, 0.103881)
    for band in range(5):
        middle = (band + 0.5) / 10  # cycles a sample
        tone = torch.sin(2 * math.pi * middle * torch.arange(5000.0))
        power = split(tone[None, None])[0, :, 100:-100].square().mean(1)
        others = torch.cat([power[:band], power[band + 1 :]])
        assert decibels(power[band] / others.max()) > 70


def test_bands_of_any_length_are_rounded_up() -> None:
    assert bank(7, 0.075310)(torch.randn(1, 1, 1001)).shape == (1, 7, 143)
    assert bank(7, 0.075310)(torch.randn(1, 1, 1002)).shape == (1, 7, 144)


def test_the_prototype_is_symmetric_and_passes_the_mean() -> None:
    low_pass = prototype(256, 0.1, 8.0)
    assert torch.equal(low_pass, low_pass.flip(0))
    assert float(low_pass.sum()) == pytest.approx(1, abs=1e-3)
