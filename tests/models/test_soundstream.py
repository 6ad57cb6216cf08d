"""What is particular to the `soundstream` architecture.

Shapes: B batch, C channels, T samples, Q codebooks, F frames.
"""

import dataclasses
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from ncodec.models.base import CodedChunk
from ncodec.models.soundstream import PRESETS, SoundStream
from ncodec.nn.conv import Conv, Upsample

HOP = 80  # of the tiny preset


@pytest.fixture
def tiny() -> SoundStream:
    """A tiny codec in double precision whose condition does something."""
    torch.manual_seed(3)
    codec = SoundStream(PRESETS["soundstream-tiny"]).double().eval()
    assert codec.encoder_film is not None
    nn.init.normal_(codec.encoder_film.weight, std=0.5)
    latents = []
    with torch.no_grad():
        codec.reconstruct(noise(8000), lambda z: latents.append(z) or z)
        codec.quantiser.codebooks.mul_(latents[0].std() / codec.quantiser.codebooks.std())
    return codec


def noise(n_samples: int, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(n_samples)
    return 0.2 * torch.randn(batch, 1, n_samples, generator=generator, dtype=torch.float64)


# Kind, channels in, channels out, kernel, stride, dilation.
Layer = tuple[str, int, int, int, int, int]


def units(width: int) -> list[Layer]:
    return [
        layer
        for dilation in (1, 3, 9)
        for layer in (("conv", width, width, 7, 1, dilation), ("conv", width, width, 1, 1, 1))
    ]


def down(width: int, stride: int) -> list[Layer]:
    return [*units(width), ("conv", width, 2 * width, 2 * stride, stride, 1)]


def up(width: int, stride: int) -> list[Layer]:
    return [("up", 2 * width, width, 2 * stride, stride, 1), *units(width)]


def layers(network: nn.Module) -> list[Layer]:
    """The layers in the order in which they run."""
    found = []
    for layer in network.modules():
        if isinstance(layer, Conv):
            n_out, n_in, _, kernel = layer.weight.shape
            found.append(("conv", n_in, n_out, kernel, layer.stride, layer.dilation))
        elif isinstance(layer, Upsample):
            _, n_in, _, taps = layer.weight.shape
            found.append(("up", n_in, layer.n_out, taps * layer.stride, layer.stride, 1))
    return found


@pytest.mark.parametrize(("preset", "c"), [("soundstream", 32), ("soundstream-c16", 16)])
def test_layers_are_those_of_figure_3(preset: str, c: int) -> None:
    codec = SoundStream(PRESETS[preset])
    assert layers(codec.encoder) == [
        ("conv", 1, c, 7, 1, 1),
        *down(c, 2),
        *down(2 * c, 4),
        *down(4 * c, 5),
        *down(8 * c, 8),
        ("conv", 16 * c, 128, 3, 1, 1),
    ]
    assert layers(codec.decoder) == [
        ("conv", 128, 16 * c, 7, 1, 1),
        *up(8 * c, 8),
        *up(4 * c, 5),
        *up(2 * c, 4),
        *up(c, 2),
        ("conv", c, 1, 7, 1, 1),
    ]
    assert codec.quantiser.codebooks.shape == (24, 1024, 128)


@pytest.mark.parametrize(
    ("preset", "n_encoder", "n_decoder"),
    [
        ("soundstream", 4_788_352, 5_050_369),  # the paper: 8.4 M in all
        ("soundstream-c16", 1_247_360, 1_378_305),  # 2.4 M
        ("soundstream-small", 312_384, 345_089),
    ],
)
def test_parameters_are_counted(preset: str, n_encoder: int, n_decoder: int) -> None:
    codec = SoundStream(PRESETS[preset])
    counts = [sum(p.numel() for p in part.parameters()) for part in (codec.encoder, codec.decoder)]
    assert counts == [n_encoder, n_decoder]
    n_condition = 2 * 2 * codec.config.latent
    assert sum(p.numel() for p in codec.parameters()) == sum(counts) + n_condition


def test_bandwidths_are_those_of_the_paper() -> None:
    config = PRESETS["soundstream"]
    assert config.codebook_bps == 750
    assert [config.n_q_for(kbps) for kbps in config.bandwidths_kbps] == [4, 8, 12, 16, 24]
    assert SoundStream(config).latency_samples == 320


@torch.inference_mode()
def test_later_samples_change_no_earlier_code(tiny: SoundStream) -> None:
    wav = noise(40 * HOP)
    other = wav.clone()
    other[..., 25 * HOP :] += noise(15 * HOP)
    first, second = (tiny.encoder(each.transpose(1, 2), {}, True) for each in (wav, other))
    assert torch.equal(first[:, :25], second[:, :25])
    assert (first[:, 25] != second[:, 25]).any()
    codes = [tiny.encode(each, 4).codes for each in (wav, other)]
    assert torch.equal(codes[0][..., :25], codes[1][..., :25])


@torch.inference_mode()
def test_later_codes_change_no_earlier_sample(tiny: SoundStream) -> None:
    chunk = tiny.encode(noise(40 * HOP), 4)
    other = chunk.codes.clone()
    other[..., 25:] = (other[..., 25:] + 1) % 16
    first, second = (
        tiny.decode(CodedChunk(codes, chunk.scales), 40 * HOP) for codes in (chunk.codes, other)
    )
    assert torch.equal(first[..., : 25 * HOP], second[..., : 25 * HOP])
    assert (first[..., 25 * HOP] != second[..., 25 * HOP]).any()


@torch.inference_mode()
def test_chunks_equal_the_whole(tiny: SoundStream) -> None:
    wav = noise(4321, batch=2)
    seen: list[Tensor] = []
    tiny.encoder.register_forward_hook(lambda *passed: seen.append(passed[-1]))
    whole = tiny.encode(wav, 4)
    state, codes = tiny.start_encoder(2), []
    places = [0, 1, 79, 81, 81, 1000, 1040, 4000, 4321]
    for start, end in pairwise(places):
        last = end == places[-1]
        codes.append(tiny.encode_chunk(wav[..., start:end], state, 4, last=last).codes)
    assert torch.equal(torch.cat(codes, -1), whole.codes)
    torch.testing.assert_close(torch.cat(seen[1:], 1), seen[0], atol=1e-5, rtol=0)

    decoded = tiny.decode(whole, 4321)
    memory = tiny.start_decoder(2)
    parts = [
        tiny.decode_chunk(CodedChunk(part, whole.scales), memory)
        for part in whole.codes.split([1, 2, 30, 0, 7, 15], -1)
    ]
    torch.testing.assert_close(torch.cat(parts, -1)[..., :4321], decoded, atol=1e-5, rtol=0)


@pytest.mark.parametrize("preset", PRESETS)
@torch.inference_mode()
def test_warmup_is_exact(preset: str) -> None:
    """So many frames before a place are enough, and one less is not."""
    torch.manual_seed(1)
    config = dataclasses.replace(PRESETS[preset], n_filters=2, latent=3)
    codec = SoundStream(config).double().eval()
    n, hop = codec.warmup_frames, config.samples_per_frame
    latents = torch.randn(1, n + 12, 3, dtype=torch.float64)
    wanted = codec.decoder(latents, {}, True)[:, (n + 10) * hop :]
    enough = codec.decoder(latents[:, 10:], {}, True)[:, n * hop :]
    torch.testing.assert_close(enough, wanted, atol=1e-12, rtol=0)
    less = codec.decoder(latents[:, 11:], {}, True)[:, (n - 1) * hop :]
    assert (less[:, 0] - wanted[:, 0]).abs().max() > 1e-9


def test_full_size_warms_up_for_a_quarter_of_a_second() -> None:
    assert SoundStream(PRESETS["soundstream-small"]).warmup_frames == 20


@torch.inference_mode()
def test_denoising_is_settled_frame_by_frame(tiny: SoundStream) -> None:
    wav = noise(30 * HOP, batch=2)
    plain = tiny.encode(wav, 4).codes
    every = tiny.start_encoder(2, denoise=True)
    changed = (tiny.encode_chunk(wav, every, 4, last=True).codes != plain).any(1)  # [B, F]
    assert changed.sum() > 50
    mask = torch.rand(2, 30) < 0.5
    state = tiny.start_encoder(2)
    state.denoise = mask
    mixed = tiny.encode_chunk(wav, state, 4, last=True).codes
    assert torch.equal((mixed != plain).any(1), mask & changed)


@torch.inference_mode()
def test_denoising_changes_between_chunks(tiny: SoundStream) -> None:
    wav = noise(30 * HOP, batch=2)
    whole = tiny.start_encoder(2)
    whole.denoise = torch.arange(30) >= 12
    wanted = tiny.encode_chunk(wav, whole, 4, last=True).codes
    state = tiny.start_encoder(2)
    first = tiny.encode_chunk(wav[..., : 12 * HOP], state, 4).codes
    state.denoise = True
    second = tiny.encode_chunk(wav[..., 12 * HOP :], state, 4, last=True).codes
    assert torch.equal(torch.cat([first, second], -1), wanted)


def test_the_condition_starts_as_the_identity() -> None:
    codec = SoundStream(PRESETS["soundstream-tiny"])
    assert codec.can_denoise
    latents = torch.randn(2, 5, 16)
    for denoise in (False, True, torch.rand(2, 5) < 0.5):
        assert torch.equal(codec.conditioned(latents, denoise), latents)


def test_training_sees_the_condition_of_each_example(tiny: SoundStream) -> None:
    wav, seen = noise(10 * HOP, batch=2), []
    for denoise in (None, torch.tensor([False, True])):
        tiny.reconstruct(wav, lambda latents: seen.append(latents) or latents, denoise)
    assert torch.equal(seen[0][0], seen[1][0])
    assert not torch.isclose(seen[0][1], seen[1][1]).any()
    codes = tiny.quantiser.encode(seen[1], 4)
    state = tiny.start_encoder(2)
    state.denoise = torch.tensor([[False], [True]])
    assert torch.equal(tiny.encode_chunk(wav, state, 4, last=True).codes, codes)


def test_without_the_condition_it_is_refused() -> None:
    codec = SoundStream(dataclasses.replace(PRESETS["soundstream-tiny"], denoises=False))
    assert not codec.can_denoise
    assert codec.encoder_film is None
    state = codec.start_encoder(1)
    assert codec.encode_chunk(torch.zeros(1, 1, HOP), state, 1).codes.shape == (1, 1, 1)
    with pytest.raises(AssertionError):
        codec.start_encoder(1, denoise=True)
    state.denoise = torch.tensor([True])
    with pytest.raises(AssertionError):
        codec.encode_chunk(torch.zeros(1, 1, HOP), state, 1)
