import random

import pytest
import torch

from ncodec.training.losses import levelled, mel_distance, reconstruction, weighted_distance


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


def test_levelled_brings_to_the_targets_level(wav: torch.Tensor) -> None:
    target, other = levelled(wav * 0.01, wav * 0.02)
    assert target.square().mean().sqrt() == pytest.approx(0.1, rel=0.01)
    torch.testing.assert_close(other, 2 * target)


def test_gradients_stay_finite_on_silence() -> None:
    silent = torch.zeros(2, 8000)
    estimate = torch.zeros(2, 8000, requires_grad=True)
    losses = reconstruction(silent, estimate, estimate, 24000, random.Random(0))
    torch.stack(list(losses.values())).sum().backward()
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()
