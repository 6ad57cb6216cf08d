"""The quantiser of several rates, and noise that depends on its place."""

import numpy as np
import torch
import torch.nn.functional as F

from ncodec.nn.multiscale import MultiScaleQuantiser
from ncodec.nn.noise import normal_noise


def quantiser() -> MultiScaleQuantiser:
    torch.manual_seed(1)
    return MultiScaleQuantiser((4, 2, 1), 32, 4, 12)


def test_codes_are_the_nearest_directions_of_what_is_left() -> None:
    of, latents = quantiser(), torch.randn(2, 5, 48)
    codes = of.encode(latents, 7)
    left = latents.view(2, 20, 12)
    first = 0
    for level, stride in enumerate((4, 2, 1)):
        means = left.view(2, -1, stride, 12).mean(2)
        projected = F.normalize(means @ of.inward[level].T + of.inward_bias[level], dim=2)
        scores = projected @ F.normalize(of.codebooks[level], dim=1).T
        found = codes[:, first : first + 4 // stride].transpose(1, 2).reshape(2, -1)
        assert torch.equal(found, scores.argmax(2))
        vectors = of.codebooks[level][found] @ of.outward[level].T + of.outward_bias[level]
        left = left - vectors.repeat_interleave(stride, 1)
        first += 4 // stride
    rebuilt = of.decode(codes).view(2, 20, 12)
    torch.testing.assert_close(latents.view(2, 20, 12) - rebuilt, left, atol=1e-5, rtol=0)


def test_fewer_levels_are_the_first() -> None:
    of, latents = quantiser(), torch.randn(1, 3, 48)
    every = of.encode(latents, 7)
    for n_q in (1, 3):
        assert torch.equal(of.encode(latents, n_q), every[:, :n_q])
        assert of.decode(every[:, :n_q]).shape == latents.shape


def test_no_frames() -> None:
    codes = quantiser().encode(torch.zeros(2, 0, 48), 3)
    assert codes.shape == (2, 3, 0)
    assert quantiser().decode(codes).shape == (2, 0, 48)


def test_codebooks_of_a_level_have_the_same_vectors() -> None:
    of = quantiser()
    vectors = of.vectors()
    assert vectors.shape == (7, 32, 4)
    for q, level in enumerate([0, 1, 1, 2, 2, 2, 2]):
        assert torch.equal(vectors[q], of.codebooks[level])


def test_noise_is_normal() -> None:
    noise = normal_noise(2, 0, 200_000).astype(np.float64)
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    assert abs((noise**4).mean() - 3) < 0.1
    assert abs((noise[1:] * noise[:-1]).mean()) < 0.01


def test_noise_is_the_same_from_any_place_and_in_no_two_streams() -> None:
    whole = normal_noise(1, 0, 1000)
    assert np.array_equal(np.concatenate([normal_noise(1, 0, 7), normal_noise(1, 7, 993)]), whole)
    assert abs(np.corrcoef(whole, normal_noise(0, 0, 1000))[0, 1]) < 0.1
    assert normal_noise(1, 500, 0).shape == (0,)


def test_noise_is_pinned() -> None:
    """It is part of what a file sounds like."""
    wanted = [-0.4527577460, 2.6506059170, -0.9886041284, 0.2524627149]
    np.testing.assert_allclose(normal_noise(0, 0, 4), wanted, rtol=1e-6)
