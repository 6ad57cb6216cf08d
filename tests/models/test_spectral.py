"""What is particular to the `spectral` architecture."""

import pytest
import torch

from ncodec.models.spectral import PRESETS, SpectralCodec, noise_table
from ncodec.nn.mdct import Mdct


@pytest.fixture
def tiny() -> SpectralCodec:
    torch.manual_seed(3)
    return SpectralCodec(PRESETS["spectral-tiny"]).eval()


@pytest.mark.parametrize("n_bins", [4, 80, 320])
def test_mdct_inverts_perfectly(n_bins: int) -> None:
    torch.manual_seed(3)
    mdct = Mdct(n_bins)
    samples = torch.randn(2, 12 * n_bins)
    cosine, _ = mdct(samples)
    assert cosine.shape == (2, 11, n_bins)
    interior = slice(n_bins, -n_bins)
    back = mdct.inverse(cosine)
    rounding = 8 * torch.finfo(torch.float32).eps * samples.abs().max().item()
    torch.testing.assert_close(back[:, interior], samples[:, interior], atol=rounding, rtol=0)


def test_mdct_keeps_energy() -> None:
    samples = torch.randn(1, 320 * 200)
    cosine, sine = Mdct(320)(samples)
    for bins in (cosine, sine):
        assert bins.square().sum() == pytest.approx(float(samples.square().sum()), rel=0.02)


def test_mdct_of_a_tone_peaks_at_its_bin() -> None:
    tone = torch.sin(torch.pi / 320 * (40 + 0.5) * torch.arange(320 * 20))
    cosine, sine = Mdct(320)(tone[None])
    assert (cosine.square() + sine.square()).mean((0, 1)).argmax() == 40


def splitmix64(index: int) -> int:
    mask = 2**64 - 1
    z = (index + 1) * 0x9E3779B97F4A7C15 & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    return z ^ z >> 31


def test_noise_is_the_same_everywhere() -> None:
    table = noise_table()
    for index in (0, 1, 2, 4711, 65535):
        uniform = (splitmix64(index) >> 40) / 2**23 - 1
        assert float(table[index]) == pytest.approx(uniform * 3**0.5, rel=1e-7)
    assert float(table.double().square().mean()) == pytest.approx(1, abs=0.01)
    assert abs(float(table.double().mean())) < 0.01


def test_noise_depends_on_the_frame_number_alone(tiny: SpectralCodec) -> None:
    together = tiny.noise_at(100, 20)
    assert torch.equal(tiny.noise_at(107, 5), together[7:12])


@pytest.mark.parametrize("gain", [1e-3, 0.05, 20.0])
def test_codes_do_not_depend_on_the_level(tiny: SpectralCodec, gain: float) -> None:
    wav = 0.02 * torch.randn(1, 1, 4000)
    loud, quiet = tiny.encode(wav, 4), tiny.encode(wav * gain, 4)
    assert (loud.codes != quiet.codes).float().mean() < 0.01
    torch.testing.assert_close(quiet.scales, loud.scales * gain)


def test_untrained_network_is_a_transform_codec() -> None:
    """With exact latents in place of codes, the identity skips alone give the low bins back."""
    codec = SpectralCodec(PRESETS["spectral"])
    t = torch.arange(24000) / 24000
    wav = 0.1 * torch.sin(2 * torch.pi * 440 * t)[None, None]
    with torch.no_grad():
        plain, _ = codec.reconstruct(wav, lambda latents: latents)
    error = (plain - wav)[..., 640:-640].square().mean() / wav.square().mean()
    assert 10 * torch.log10(error) < -40


def test_default_preset_is_small_enough_to_be_fast() -> None:
    codec = SpectralCodec(PRESETS["spectral"])
    multiplies = sum(p.numel() for p in codec.parameters() if p.ndim > 1)
    assert multiplies * 75 < 0.5e9  # multiply-accumulates per second of audio, both ways


def test_rejects_nothing_to_decode_gracefully(tiny: SpectralCodec) -> None:
    chunk = tiny.encode(torch.zeros(1, 1, 0), 2)
    assert chunk.codes.shape == (1, 2, 0)
    assert tiny.decode(chunk, 0).shape == (1, 1, 0)
