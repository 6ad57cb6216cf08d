"""What is particular to the `spectral` architecture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ncodec.errors import ModelInvalid
from ncodec.models.base import CodedChunk
from ncodec.models.spectral import SpectralCodec
from ncodec.models.spectral_base import LEVEL, PRESETS, SpectralConfig, noise_table
from ncodec.nn.convnext import ConvNeXtBlock
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
    assert np.square(table, dtype=np.float64).mean() == pytest.approx(1, abs=0.01)
    assert abs(table.mean(dtype=np.float64)) < 0.01


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


@pytest.fixture
def conditioned() -> SpectralCodec:
    """A codec whose blocks, and what they are told of the rate, all have an effect."""
    torch.manual_seed(3)
    config = replace(PRESETS["spectral-tiny"], rate_conditioned=True, activation="relu2")
    codec = SpectralCodec(config).eval()
    assert codec.decoder_rates is not None
    nn.init.normal_(codec.decoder_rates, std=0.5)
    nn.init.normal_(codec.decoder_out.weight, std=0.2)
    codec.noise.zero_()
    return codec


@torch.no_grad()
def test_a_decoder_is_told_the_rate_in_training_as_in_files(conditioned: SpectralCodec) -> None:
    wav, n_q, coded = 0.1 * torch.randn(2, 1, 4000), torch.tensor([1, 3]), []

    def quantise(latents: Tensor) -> Tensor:
        for row, count in zip(latents, n_q.tolist(), strict=True):
            coded.append(conditioned.quantiser.encode(row[None], count))
        return torch.cat([conditioned.quantiser.decode(codes) for codes in coded])

    made, _ = conditioned.reconstruct(wav, quantise, n_q=n_q)
    for row, codes in zip(made, coded, strict=True):
        decoded = conditioned.decode(CodedChunk(codes, torch.full((1, 1), LEVEL)), 4000)
        torch.testing.assert_close(decoded[0], row, atol=1e-5, rtol=1e-4)
    told_alike, _ = conditioned.reconstruct(
        wav, lambda latents: torch.cat([conditioned.quantiser.decode(codes) for codes in coded])
    )
    assert (told_alike - made).abs().amax((1, 2)).min() > 1e-3


@torch.no_grad()
def test_a_conditioned_decoder_runs_chunk_by_chunk(conditioned: SpectralCodec) -> None:
    chunk = conditioned.encode(0.1 * torch.randn(1, 1, 4000), 2)
    whole = conditioned.decode(chunk, 4000)
    state, parts = conditioned.start_decoder(1), []
    for first in range(0, chunk.codes.shape[2], 7):
        part = CodedChunk(chunk.codes[:, :, first : first + 7], chunk.scales)
        last = first + 7 >= chunk.codes.shape[2]
        parts.append(conditioned.decode_chunk(part, state, last=last))
    torch.testing.assert_close(torch.cat(parts, 2)[..., :4000], whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("activation", ["gelu", "relu2"])
def test_a_block_is_the_same_in_training(activation: str) -> None:
    torch.manual_seed(3)
    block = ConvNeXtBlock(16, 7, 2, 0.5, activation)
    x, past, condition = torch.randn(2, 20, 16), torch.randn(2, 6, 16), torch.randn(2, 2, 16)
    learning, after = block.train()(x, past, condition)
    at_rest, after_rest = block.eval()(x, past, condition)
    torch.testing.assert_close(learning, at_rest, atol=1e-5, rtol=1e-4)
    assert torch.equal(after, after_rest)


def test_a_configuration_of_before_means_what_it_did() -> None:
    values = PRESETS["spectral"].to_dict()
    for added in ("activation", "rate_conditioned"):
        del values[added]
    assert SpectralConfig.from_dict(values) == PRESETS["spectral"]
    del values["width"]
    with pytest.raises(ModelInvalid, match="unknown or missing fields: width"):
        SpectralConfig.from_dict(values)
