"""What is particular to `spectral` in stereo: mid and side in one stream of codes."""

import pytest
import torch
from tiny_models import fit_codebooks

from ncodec.models.spectral import SpectralCodec
from ncodec.models.spectral_base import PRESETS


@pytest.fixture
def codec() -> SpectralCodec:
    torch.manual_seed(3)
    made = SpectralCodec(PRESETS["spectral-tiny-stereo"]).eval().requires_grad_(False)
    for parameter in made.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    fit_codebooks(made)
    return made


def test_mono_comes_back_as_mono(codec: SpectralCodec) -> None:
    wav = 0.1 * torch.randn(1, 1, 4000).expand(-1, 2, -1)
    coded = codec.encode(wav, 4)
    assert coded.scales[0, 0] > 0
    assert coded.scales[0, 1] == 0
    left, right = codec.decode(coded, 4000)[0]
    assert left.any()
    assert torch.equal(left, right)


def test_stereo_keeps_its_side(codec: SpectralCodec) -> None:
    wav = 0.1 * torch.randn(1, 2, 4000)
    coded = codec.encode(wav, 4)
    assert torch.equal(coded.scales[:, 0], coded.scales[:, 1])
    left, right = codec.decode(coded, 4000)[0]
    assert not torch.equal(left, right)
    torch.testing.assert_close(coded.scales[0, 0] / 0.1, torch.tensor(1.0), atol=0.1, rtol=0)


def test_the_start_is_a_stereo_transform_codec() -> None:
    """Without the quantiser, low bins of mid and side come back as they are."""
    torch.manual_seed(3)
    codec = SpectralCodec(PRESETS["spectral-tiny-stereo"]).eval().requires_grad_(False)
    time_s = torch.arange(4000) / 8000
    low, lower = (0.14 * torch.sin(2 * torch.pi * hz * time_s) for hz in (175.0, 75.0))
    wav = torch.stack([low + lower, low - lower])[None]  # mid and side have a tone each
    plain, _ = codec.reconstruct(wav, lambda latents: latents)
    error = (plain - wav)[..., 160:-160].square().mean()
    assert error < 0.02 * wav.square().mean()
