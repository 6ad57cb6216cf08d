import math
import random

import pytest
import torch

from ncodec.errors import UsageError
from ncodec.nn.mel import mel_filterbank
from ncodec.training.losses import (
    LOWEST,
    PAPERS,
    compressed_distance,
    floored_log,
    mel_distance,
    mel_loss,
    reconstruction,
    spectrum,
    weighted_distance,
)


@pytest.fixture
def wav() -> torch.Tensor:
    torch.manual_seed(0)
    return 0.1 * torch.randn(2, 8000)


@pytest.mark.parametrize("size", [64, 512, 2048])
def test_nothing_differs_from_itself(wav: torch.Tensor, size: int) -> None:
    assert mel_distance(wav, wav, size, 24000) == 0
    assert weighted_distance(wav, wav, size) < 5e-3  # the root has a small floor


@pytest.mark.parametrize("size", [64, 512, 2048])
def test_silence_scores_one(wav: torch.Tensor, size: int) -> None:
    assert weighted_distance(wav, torch.zeros_like(wav), size) == pytest.approx(1, abs=0.01)


def test_mel_distance_is_the_gain_in_nepers(wav: torch.Tensor) -> None:
    assert mel_distance(wav, 0.5 * wav, 512, 24000) == pytest.approx(0.6931, abs=0.01)


def test_phase_matters_to_one_and_not_to_the_other(wav: torch.Tensor) -> None:
    assert mel_distance(wav, -wav, 512, 24000) == 0
    assert weighted_distance(wav, -wav, 512) == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("size", [64, 512])
def test_a_spectrum_and_its_gradient_are_those_of_torch(size: int) -> None:
    wav = torch.randn(2, 3000, requires_grad=True)
    window = torch.hann_window(size)
    theirs = torch.stft(wav, size, size // 4, window=window, return_complex=True)
    theirs = theirs.transpose(1, 2) * (2 / window.sum())
    ours = spectrum(wav, size)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn(ours.shape, dtype=ours.dtype)
    gradients = [torch.autograd.grad((bins * weight).real.sum(), wav)[0] for bins in (ours, theirs)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_compression_lets_what_is_quiet_count(wav: torch.Tensor) -> None:
    time_s = torch.arange(8000) / 24000
    loud, quiet = (torch.sin(2 * torch.pi * hz * time_s)[None] for hz in (3000, 7000))
    both = loud + 0.01 * quiet
    assert compressed_distance(both, both, 512) == 0
    assert compressed_distance(both, torch.zeros_like(both), 512) == pytest.approx(1, abs=0.01)
    # 0.01 to the power 0.6 is 0.063, of 1 + 0.063 in all
    assert compressed_distance(both, loud, 512) == pytest.approx(0.06, abs=0.03)


def test_gradients_stay_finite_on_silence() -> None:
    silent = torch.zeros(2, 8000)
    estimate = torch.zeros(2, 8000, requires_grad=True)
    losses = reconstruction(silent, estimate, estimate, 24000, random.Random(0), compressed=True)
    assert losses.keys() == {"stft", "heard", "mel", "compressed"}
    torch.stack(list(losses.values())).sum().backward()
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()


@pytest.mark.parametrize("paper", PAPERS)
def test_a_papers_loss_is_nothing_for_the_same(wav: torch.Tensor, paper: str) -> None:
    loss = mel_loss(paper)
    assert loss(wav, wav, 24000) == pytest.approx(0, abs=1e-3)
    near, far = (loss(wav, gain * wav, 24000) for gain in (0.9, 0.5))
    assert 0 < near < far


@pytest.mark.filterwarnings("ignore:At least one mel")
def test_halving_costs_what_the_formulas_say(wav: torch.Tensor) -> None:
    # HILCodec: power falls by log(4), in each of six scales.
    fall = math.log(4)
    found = mel_loss("hilcodec")(wav, 0.5 * wav, 24000)
    assert found == pytest.approx(6 * (fall + fall**2), rel=0.03)  # a few are at the floor
    # SoundStream: the L2 norm of log(2) in every band that holds a bin, and half the magnitudes.
    loud = mel_loss("soundstream")(100 * wav, 50 * wav, 24000)
    quiet = mel_loss("soundstream")(wav, 0.5 * wav, 24000)
    magnitudes = (loud - quiet) / 99  # the logarithms' part is the same in both
    logs = 0.0
    for size in (64, 128, 256, 512, 1024, 2048):
        n_bands = int(mel_filterbank(size, 64, 24000).any(0).sum())
        logs += math.sqrt(size / 2) * math.sqrt(n_bands) * math.log(2)
    assert quiet - magnitudes == pytest.approx(logs, rel=0.02)


@pytest.mark.parametrize("paper", PAPERS)
def test_what_is_silent_is_pulled_up(wav: torch.Tensor, paper: str) -> None:
    estimate = 1e-9 * torch.randn_like(wav)
    estimate.requires_grad_()
    mel_loss(paper)(wav, estimate, 24000).backward()
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()
    assert estimate.grad.abs().max() > 0


def test_the_floor_has_a_gradient() -> None:
    bands = torch.tensor([1.0, LOWEST / 10], requires_grad=True)
    logs = floored_log(bands)
    torch.testing.assert_close(logs.detach(), torch.tensor([0.0, math.log(LOWEST)]))
    logs.sum().backward()
    torch.testing.assert_close(bands.grad, torch.tensor([1.0, 1 / LOWEST]))


def test_papers_that_are_not_known_are_refused() -> None:
    with pytest.raises(UsageError, match="'dac' is unknown; known: drawn, soundstream, encodec"):
        mel_loss("dac")
