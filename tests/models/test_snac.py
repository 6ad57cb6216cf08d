"""SNAC at its published sizes against the authors' package, and what is its own.

The weights are random, drawn once and converted as a checkpoint would be.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from snac_codes import spread_codes
from torch import Tensor
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from ncodec.errors import ModelInvalid, UsageError
from ncodec.hub.importers.snac import convert
from ncodec.hub.public import public_models
from ncodec.models.base import CodedChunk
from ncodec.models.snac import PRESETS, TINY, Snac
from ncodec.models.torch_codec import no_scales
from ncodec.nn.conv import Conv, Upsample
from ncodec.nn.noise import normal_noise

MUSIC = dict(public_models()["snac_44khz"].config or {})
CONFIGS: dict[str, dict[str, Any]] = {
    "snac_24khz": {
        **MUSIC, "sampling_rate": 24000, "encoder_dim": 48, "encoder_rates": [2, 4, 8, 8],
        "decoder_dim": 1024, "decoder_rates": [8, 8, 4, 2], "attn_window_size": None,
        "vq_strides": [4, 2, 1],
    },
    "snac_44khz": MUSIC,
}  # fmt: skip
SAMPLES = {"snac_24khz": 7001, "snac_44khz": 14001}  # 4 frames; two windows of 4 frames


@torch.no_grad()
def draw(model: torch.nn.Module) -> None:
    """Draw all weights anew; magnitudes of weight norm so that a waveform is not lost in biases."""
    for name, weight in model.named_parameters():
        drawn = torch.randn_like(weight)
        if name.endswith("original0"):
            gain = 1.5 if name.startswith("encoder") else 1.0
            weight.mul_(gain * (1 + 0.2 * drawn))
        else:
            weight.add_((0.3 if name.endswith("alpha") else 0.03) * drawn)


@dataclass(frozen=True)
class Pair:
    """The authors' codec and ours with the same weights, and what theirs makes of noise."""

    theirs: Any
    ours: Snac
    wav: Tensor  # [1, 1, T]
    levels: list[Tensor]  # their codes, [1, n] each

    @property
    def codes(self) -> Tensor:
        """The same in the order of ours: [1, Q, F]."""
        frames = self.levels[0].shape[1]
        return torch.cat([level.view(1, frames, -1).transpose(1, 2) for level in self.levels], 1)

    @torch.inference_mode()
    def audio(self, levels: list[Tensor]) -> Tensor:
        return self.theirs.decode(levels)


@pytest.fixture(scope="module", params=CONFIGS)
def pair(request: pytest.FixtureRequest) -> Pair:
    package = pytest.importorskip("snac")
    torch.manual_seed(3)
    theirs = package.SNAC(**CONFIGS[request.param])
    draw(theirs)
    for module in theirs.modules():  # torch folds weight norm in less time than the importer
        if is_parametrized(module, "weight"):
            remove_parametrizations(module, "weight")
    converted = convert(theirs.state_dict(), CONFIGS[request.param])
    assert converted is not None
    assert converted.model_id == request.param
    assert converted.config == PRESETS[request.param]
    ours = Snac(converted.config)
    ours.load_state_dict(dict(converted.tensors))
    spread_codes(ours, 0.4)  # so that many codes are in use
    with torch.no_grad():
        for quantiser, bias in zip(
            theirs.quantizer.quantizers, ours.quantiser.inward_bias, strict=True
        ):
            quantiser.in_proj.bias.copy_(bias)
    loudness = torch.linspace(0, 1, SAMPLES[request.param])
    wav = loudness * torch.randn(1, 1, SAMPLES[request.param])
    with torch.inference_mode():
        levels = theirs.eval().encode(wav)
    return Pair(theirs, ours.eval(), wav, levels)


def same_noise() -> Callable[..., Tensor]:
    """Return what draws our noise for one decoding of theirs, in place of torch.randn."""
    streams = iter(range(99))

    def randn(shape: tuple[int, ...], **options: Any) -> Tensor:
        noise = torch.from_numpy(normal_noise(next(streams), 0, shape[2]))
        return noise.expand(shape).to(**options)

    return randn


def audio_of(codec: Snac, codes: Tensor) -> Tensor:
    chunk = CodedChunk(codes, no_scales(codes.float()))
    with torch.inference_mode():
        return codec.decode_chunk(chunk, codec.start_decoder(len(codes)), last=True)


@torch.inference_mode()
def ties(pair: Pair, found: Tensor) -> int:
    """Count the frames that differ, each first by two codes of nearly the same direction."""
    seen: list[Tensor] = []

    def see(latents: Tensor) -> Tensor:
        seen.append(latents)
        return latents

    pair.ours.reconstruct(pair.wav, see)
    quantiser, config = pair.ours.quantiser, pair.ours.config
    differing = (found != pair.codes).any(1)[0]  # [F]
    counts = torch.tensor(quantiser.counts).cumsum(0).tolist()
    for frame in differing.nonzero().flatten().tolist():
        end = next(n for n in counts if (found != pair.codes)[0, :n, frame].any())
        level = counts.index(end)
        left = seen[0][:, frame : frame + 1]
        if level:
            before = pair.codes[:, : counts[level - 1], frame : frame + 1]
            left = left - quantiser.decode(before)
        means = left.view(-1, config.level_strides[level], config.latent).mean(1)
        projected = F.linear(means, quantiser.inward[level], quantiser.inward_bias[level])
        near = F.normalize(projected, dim=1) @ F.normalize(quantiser.codebooks[level], dim=1).T
        start = end - quantiser.counts[level]
        for place, scores in enumerate(near):
            one, other = (codes[0, start + place, frame] for codes in (found, pair.codes))
            assert abs(scores[one] - scores[other]) < 1e-4
    return int(differing.sum())


def test_codes_are_the_reference_s(pair: Pair) -> None:
    assert len(pair.codes.unique()) > pair.codes.numel() / 2
    found = pair.ours.encode(pair.wav, pair.ours.config.n_codebooks).codes
    assert found.shape == pair.codes.shape
    assert ties(pair, found) <= 1


def test_audio_is_the_reference_s_with_the_same_noise(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = audio_of(pair.ours, pair.codes)
    assert not torch.allclose(pair.audio(pair.levels), found, atol=1e-3)  # of another noise
    monkeypatch.setattr(torch, "randn", same_noise())
    wanted = pair.audio(pair.levels)
    assert wanted.std() > 0.05
    assert wanted.abs().max() < 1
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_audio_of_fewer_levels_is_the_reference_s(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = audio_of(pair.ours, pair.codes[:, :3])
    monkeypatch.setattr(torch, "randn", same_noise())
    monkeypatch.setattr(pair.theirs.quantizer, "n_codebooks", 2)
    torch.testing.assert_close(found, pair.audio(pair.levels), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_chunks_give_the_reference_s_codes(pair: Pair) -> None:
    codec, n_q = pair.ours, pair.ours.config.n_codebooks
    state = codec.start_encoder(1)
    parts = [codec.encode_chunk(part, state, n_q).codes for part in pair.wav.split(3000, 2)]
    parts.append(codec.encode_chunk(pair.wav[..., :0], state, n_q, last=True).codes)
    assert all(part.shape[2] % codec.segment_frames == 0 for part in parts)
    assert ties(pair, torch.cat(parts, 2)) <= 1


@torch.inference_mode()
def test_chunks_decode_to_what_the_whole_does(pair: Pair) -> None:
    codec, codes = pair.ours, pair.codes
    state = codec.start_decoder(1)
    chunks = [
        CodedChunk(part, no_scales(pair.wav)) for part in codes.split(codec.segment_frames, 2)
    ]
    parts = [codec.decode_chunk(chunk, state) for chunk in chunks]
    nothing = CodedChunk(codes[..., :0], no_scales(pair.wav))
    parts.append(codec.decode_chunk(nothing, state, last=True))
    assert 0 < parts[-1].shape[2] < codec.latency_samples
    torch.testing.assert_close(torch.cat(parts, 2), audio_of(codec, codes), atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "millions", "kbps", "rates_hz"),
    [
        ("snac_24khz", 19.8, 0.98, (12, 23, 47)),
        ("snac_32khz", 54.5, 1.9, (10, 21, 42, 83)),
        ("snac_44khz", 54.5, 2.6, (14, 29, 57, 115)),
    ],
)
def test_sizes_are_the_published_ones(
    name: str, millions: float, kbps: float, rates_hz: tuple[int, ...]
) -> None:
    """Parameters include the codebooks and the magnitudes of weight norm."""
    with torch.device("meta"):
        codec = Snac(PRESETS[name])
    layers = [layer for layer in codec.modules() if isinstance(layer, Conv | Upsample)]
    magnitudes = [len(layer.weight) if isinstance(layer, Conv) else layer.weight.shape[1]
                  for layer in layers]  # fmt: skip
    quantiser = codec.quantiser
    magnitudes += [quantiser.inward_bias.numel(), quantiser.outward_bias.numel()]
    n_parameters = sum(p.numel() for p in codec.parameters()) + quantiser.codebooks.numel()
    assert round((n_parameters + sum(magnitudes)) / 1e6, 1) == millions
    assert codec.config.default_bandwidth_kbps == pytest.approx(kbps, abs=0.03)
    frame_rate = codec.config.frame_rate_hz
    assert tuple(round(frame_rate * count) for count in quantiser.counts) == rates_hz


def tiny(name: str = "snac-tiny-windows") -> Snac:
    torch.manual_seed(5)
    codec = Snac(PRESETS[name])
    draw(codec)
    return codec.eval()


def test_a_part_of_a_level_is_refused() -> None:
    codec = tiny()
    with pytest.raises(UsageError, match="2 codebooks: expected 1, 3 or 7"):
        codec.encode(torch.zeros(1, 1, 800), 2)
    with pytest.raises(UsageError, match="4 codebooks: expected 1, 3 or 7"):
        codec.decode(CodedChunk(torch.zeros(1, 4, 2, dtype=torch.int64), torch.zeros(1, 0)), 80)


def test_codes_of_a_level_follow_in_time() -> None:
    """The codes of a frame: all of the slowest level, then those of the next in time, and so on."""
    codec = tiny("snac-tiny")
    codes = torch.randint(16, (1, 7, 10))
    whole = codec.quantiser.decode(codes).view(1, 10, 4, -1)  # [B, F, s, D]
    for q, steps in enumerate([(0, 4), (0, 2), (2, 4), (0, 1), (1, 2), (2, 3), (3, 4)]):
        other = codes.clone()
        other[0, q, 5] = (other[0, q, 5] + 1) % 16
        changed = codec.quantiser.decode(other).view_as(whole) != whole
        assert changed.any(3).nonzero()[:, 1:].tolist() == [[5, step] for step in range(*steps)]


def test_codes_that_end_within_a_window_are_decoded() -> None:
    codec = tiny()
    codes = torch.randint(16, (2, 7, 5))
    whole = audio_of(codec, codes)
    assert whole.shape == (2, 1, 400)
    assert whole.isfinite().all()
    longer = audio_of(codec, torch.cat([codes, codes[..., :1]], 2))
    assert torch.equal(longer[..., :50], whole[..., :50])
    assert not torch.allclose(longer[..., 320:400], whole[..., 320:], atol=1e-3)


@torch.inference_mode()
def test_noise_depends_on_the_place() -> None:
    """The same frame sounds different at another place, and the same there in every run."""
    codec = tiny("snac-tiny")
    codes = torch.randint(16, (1, 7, 1)).expand(1, 7, 40)
    runs = [audio_of(codec, codes)[0, 0] for _ in range(2)]
    assert torch.equal(*runs)
    frames = runs[0].view(40, 80)[10:30]
    assert (frames[1:] - frames[:-1]).abs().amax(1).min() > 1e-3


def test_every_weight_is_heard() -> None:
    codec = tiny()
    wav = 0.1 * torch.randn(2, 1, 1600)
    codec.reconstruct(wav, lambda latents: latents)[0].square().sum().backward()
    without = [
        name
        for name, weight in codec.named_parameters()
        if not name.startswith("quantiser") and not weight.grad.abs().sum() > 0  # type: ignore[union-attr]
    ]
    assert not without


def test_inference_computes_what_gradients_see() -> None:
    codec = tiny()
    wav = 0.1 * torch.randn(2, 1, 803)
    with_gradients = codec.reconstruct(wav, lambda latents: latents)[0].detach()
    with torch.inference_mode():
        without = codec.reconstruct(wav, lambda latents: latents)[0]
    torch.testing.assert_close(without, with_gradients, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_blocks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    codec, wav = tiny(), 0.1 * torch.randn(1, 1, 4003)
    whole = codec.reconstruct(wav, lambda latents: latents)[0]
    monkeypatch.setattr("ncodec.models.snac.BLOCK_SAMPLES", 97)
    blocks = codec.reconstruct(wav, lambda latents: latents)[0]
    torch.testing.assert_close(blocks, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"strides": (4, 4)}, "samples_per_frame"),
        ({"n_codebooks": 6}, "n_codebooks"),
        ({"level_strides": (4, 3, 1), "n_codebooks": 6}, "level_strides"),
        ({"decoder_width": 66}, "decoder_width"),
        ({"n_channels": 2}, "n_channels"),
        ({"window": 8, "encoder_width": 8}, "window"),
    ],
)
def test_a_config_that_contradicts_itself(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelInvalid, match=f"model config: {named}: contradicts the other sizes"):
        replace(TINY, **changes)
