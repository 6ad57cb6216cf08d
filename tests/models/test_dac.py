"""DAC at its official sizes against transformers, with random weights; in chunks; its quantiser."""

from typing import Any

import pytest
import torch
from reference_dac import SIZES, noise, reference
from torch import Tensor

from ncodec.hub.importers.dac import convert
from ncodec.models.base import CodedChunk
from ncodec.models.dac import PRESETS, Dac
from ncodec.nn.conv import snake


def ours(model: torch.nn.Module, config: dict[str, Any]) -> Dac:
    converted = convert(model.state_dict(), config)
    assert converted is not None
    with torch.device("meta"):
        codec = Dac(converted.config)
    codec.load_state_dict(dict(converted.tensors), assign=True)
    return codec.eval()


def n_ties(codec: Dac, latents: Tensor, found: Tensor, wanted: Tensor) -> int:
    """Count the frames whose codes differ, having asserted that each began with a tie.

    latents [F, D]; codes [Q, F]. A tie: two codes whose cosines differ by less than 1e-5.
    """
    differing = (found != wanted).any(0).nonzero().flatten().tolist()
    quantiser = codec.quantiser
    for frame in differing:
        q = int((found[:, frame] != wanted[:, frame]).nonzero()[0])
        residual = latents[frame]
        for before in range(q):
            residual = residual - quantiser.latents_of(wanted[before, frame], before)
        projected = quantiser.in_weight[q] @ residual + quantiser.in_bias[q]
        both = quantiser.codewords[q][[int(found[q, frame]), int(wanted[q, frame])]]
        cosines = torch.cosine_similarity(projected[None].double(), both.double())
        assert abs(float(cosines[0] - cosines[1])) < 1e-5, f"frame {frame}, codebook {q}"
    return len(differing)


def assert_same(name: str, seconds: float, batch: int = 1) -> None:
    """Compare codes, and the audio decoded from the reference's codes."""
    model = reference(name)
    codec = ours(model, model.config.to_dict())
    hop, wav = codec.config.samples_per_frame, noise(name, seconds, batch)
    n_samples = wav.shape[2]
    padded = torch.nn.functional.pad(wav, (0, -n_samples % hop))
    wanted = model.encode(padded).audio_codes
    decoded = model.decode(audio_codes=wanted).audio_values
    assert 0.01 < decoded.std() < 0.7  # neither silent nor cut off
    chunk = codec.encode(wav, codec.config.n_codebooks)
    assert chunk.codes.shape == wanted.shape
    latents = codec.latents(wav, codec.start_encoder(batch), True)
    ties = sum(n_ties(codec, latents[b], chunk.codes[b], wanted[b]) for b in range(batch))
    audio = codec.decode(CodedChunk(wanted, chunk.scales), n_samples)[:, 0]
    n_given = min(n_samples, decoded.shape[1])
    difference = float((audio[:, :n_given] - decoded[:, :n_given]).abs().max())
    print(f"{name}: {ties} ties in {wanted.shape[2]} frames, audio within {difference:.1e}")
    assert ties <= 0.01 * wanted.shape[2] + 1
    assert difference < 1e-4
    assert audio.shape == (batch, n_samples)
    # Strides of 5 leave the reference a few samples short; there is silence here.
    assert n_samples - n_given <= codec.config.sizes.missing_samples
    assert not audio[:, n_given:].any()


@pytest.mark.parametrize("name", ["dac_16khz", "dac_24khz", "dac_44khz"])
@torch.inference_mode()
def test_same_codes_and_audio_as_transformers(name: str) -> None:
    preset = PRESETS[name]
    sizes = SIZES[name]
    assert (preset.sample_rate_hz, preset.n_codebooks, list(preset.strides)) == tuple(
        sizes.values()
    )
    assert_same(name, 0.25)


@pytest.mark.parametrize("seconds", [3.0, 1.2345, 0.0075, 1 / 8000])
@torch.inference_mode()
def test_same_at_any_length(seconds: float) -> None:
    assert_same("small", seconds, batch=2)


@pytest.mark.parametrize("sizes", [(1,), (59, 60, 61), (700, 1), (4000,), (30_000,)])
@torch.inference_mode()
def test_chunks_give_what_the_whole_gives(sizes: tuple[int, ...]) -> None:
    model = reference("small")
    codec = ours(model, model.config.to_dict())
    wav = noise("small", 0.2 if sizes == (1,) else 3.0)
    whole, n_q = codec.encode(wav, 5), 5
    state, parts, start = codec.start_encoder(1), [], 0
    while start < wav.shape[2]:
        for size in sizes:
            parts.append(codec.encode_chunk(wav[..., start : start + size], state, n_q).codes)
            start += size
    n_before = sum(part.shape[2] for part in parts)
    n_whole = wav.shape[2] // codec.config.samples_per_frame
    assert n_before == max(0, n_whole - codec.lookahead_frames)
    parts.append(codec.encode_chunk(wav[..., :0], state, n_q, last=True).codes)
    assert torch.equal(torch.cat(parts, 2), whole.codes)

    decoded = codec.decode(whole, wav.shape[2])
    decoder = codec.start_decoder(1)
    chunks = [CodedChunk(part, whole.scales) for part in whole.codes.split(sizes[0] % 13 + 1, 2)]
    pieces = [codec.decode_chunk(chunk, decoder) for chunk in chunks]
    held = whole.codes.shape[2] * codec.config.samples_per_frame
    held -= sum(piece.shape[2] for piece in pieces)
    assert held == min(held + 1, codec.config.sizes.held_samples)
    nothing = CodedChunk(whole.codes[..., :0], whole.scales)
    pieces.append(codec.decode_chunk(nothing, decoder, last=True))
    joined = torch.cat(pieces, 2)
    assert joined.shape[2] == whole.codes.shape[2] * codec.config.samples_per_frame
    torch.testing.assert_close(joined[..., : wav.shape[2]], decoded, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_reach_is_neither_less_nor_more_than_it_is_said_to_be() -> None:
    """Which codes a sample changes, and which samples a code changes."""
    model = reference("small")
    codec = ours(model, model.config.to_dict())
    hop, ahead, back = codec.config.samples_per_frame, codec.lookahead_frames, codec.warmup_frames
    wav = noise("small", 1.5)
    changed = wav.clone()
    place = 100 * hop
    changed[..., place:] *= -1
    latents = [codec.latents(each, codec.start_encoder(1), True)[0] for each in (wav, changed)]
    first = int((latents[0] != latents[1]).any(1).nonzero()[0])
    assert first == 100 - ahead or first == 100 - ahead + 1

    codes = codec.encode(wav, 5).codes
    other = codes.clone()
    other[..., 100] = 63 - other[..., 100]
    audio = [codec.decode(CodedChunk(each, codes[:, 0, :0]), codes.shape[2] * hop)[0, 0]
             for each in (codes, other)]  # fmt: skip
    touched = (audio[0] != audio[1]).nonzero().flatten()
    assert int(touched[0]) >= 100 * hop - codec.config.sizes.held_samples
    assert 100 + back - 2 < int(touched[-1]) / hop < 100 + back + 1


@torch.inference_mode()
def test_wider_beams_leave_less() -> None:
    model = reference("small")
    codec = ours(model, model.config.to_dict())
    wav = noise("small", 1.0)
    latents = codec.latents(wav, codec.start_encoder(1), True)
    left = []
    for width in (1, 2, 16):
        found = codec.quantiser.encode(latents, 5, width)
        left.append(float((codec.quantiser.decode(found) - latents).square().sum()))
    assert left[0] > left[1] > left[2]


@torch.inference_mode()
def test_codebooks_are_what_codes_stand_for() -> None:
    torch.manual_seed(2)
    quantiser = Dac(PRESETS["dac-tiny"]).quantiser
    with torch.no_grad():
        quantiser.out_bias.normal_()
    codes = torch.randint(16, (3, 4, 7))
    wanted = sum(quantiser.codebooks[q][codes[:, q]] for q in range(4))
    assert quantiser.codebooks.shape == (4, 16, 16)
    torch.testing.assert_close(quantiser.decode(codes), wanted)


def test_snake_is_the_same_with_and_without_gradients() -> None:
    x, alpha = torch.randn(2, 5, 3), torch.tensor([0.1, 1.0, 7.0])
    trained = snake(x, alpha)
    with torch.inference_mode():
        torch.testing.assert_close(snake(x, alpha), trained)
    wanted = x.double() + (alpha.double() * x.double()).sin() ** 2 / alpha.double()
    torch.testing.assert_close(trained.double(), wanted, atol=1e-6, rtol=1e-6)


def test_published_rates() -> None:
    rates = {name: preset.n_codebooks * preset.codebook_bps / 1000
             for name, preset in PRESETS.items()}  # fmt: skip
    assert rates["dac_16khz"] == 6.0
    assert rates["dac_24khz"] == 24.0
    assert rates["dac_44khz"] == pytest.approx(7.752, abs=1e-3)
    assert rates["dac_44khz_16kbps"] == pytest.approx(15.504, abs=1e-3)
    for preset in PRESETS.values():
        assert preset.n_q_for(preset.default_bandwidth_kbps) >= 1
        assert preset.n_q_for(max(preset.bandwidths_kbps)) == preset.n_codebooks
