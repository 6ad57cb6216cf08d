"""HILCodec against vectors of its authors' implementation, and at its full size."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ncodec.hub.importers.hilcodec import convert
from ncodec.models.base import CodedChunk
from ncodec.models.hilcodec import PRESETS, Hilcodec
from ncodec.models.torch_codec import no_scales

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "hilcodec-music-small"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the reference vectors are not here")


@pytest.fixture(scope="module")
def vectors() -> dict[str, Tensor]:
    return load_file(GOLDEN / "vectors.safetensors")


@pytest.fixture(scope="module")
def golden() -> Hilcodec:
    """The codec of the reference vectors, converted as `ncodec models import` does."""
    config = json.loads((GOLDEN / "config.json").read_text())
    converted = convert(load_file(GOLDEN / "weights.safetensors"), config)
    assert converted is not None
    codec = Hilcodec(converted.config)
    codec.load_state_dict(dict(converted.tensors))
    return codec.eval()


@torch.inference_mode()
def latents_of(codec: Hilcodec, wav: Tensor) -> Tensor:
    """Return the latents [B, F, D] of [B, 1, T]."""
    seen = []

    def see(latents: Tensor) -> Tensor:
        seen.append(latents)
        return latents

    codec.reconstruct(wav, see)
    return seen[0]


def check_ties(codec: Hilcodec, latents: Tensor, found: Tensor, wanted: Tensor) -> None:
    """Assert that codes [Q, F] are the same, but for ties: distances within 1e-5 of each other.

    The vectors' deeper codebooks are so small, 1e-2 of the first at the sixth and 1e-6 at the last,
    that rounding decides there.
    """
    differing = (found != wanted).any(0).nonzero().flatten().tolist()
    books = codec.quantiser.codebooks.double()
    for frame in differing:
        q = int((found[:, frame] != wanted[:, frame]).nonzero()[0])
        left = latents[frame].clone()
        for before in range(q):
            left -= books[before, wanted[before, frame]]
        both = books[q, torch.stack([found[q, frame], wanted[q, frame]])]
        near, far = (left - both).square().sum(1).tolist()
        assert abs(near - far) < 1e-5
    n_ties = int((found != wanted).sum())
    print(f"ties: {n_ties} of {wanted.numel()} codes, none in the first six codebooks")
    assert torch.equal(found[:6], wanted[:6])


@needs_golden
def test_latents_are_the_reference_s(golden: Hilcodec, vectors: dict[str, Tensor]) -> None:
    latents = latents_of(golden, vectors["input"])
    torch.testing.assert_close(latents, vectors["latent"].mT, atol=1e-4, rtol=0)


@needs_golden
@pytest.mark.parametrize("n_q", [1, 2, 4, 12])
def test_codes_are_the_reference_s(golden: Hilcodec, vectors: dict[str, Tensor], n_q: int) -> None:
    found = golden.encode(vectors["input"], n_q).codes[0]
    wanted = vectors[f"codes_nq{n_q}"][0].long()
    assert found.shape == wanted.shape
    latents = latents_of(golden, vectors["input"])[0].double()
    check_ties(golden, latents, found, wanted)


@needs_golden
@pytest.mark.parametrize("n_q", [1, 2, 4, 12])
def test_audio_is_the_reference_s(golden: Hilcodec, vectors: dict[str, Tensor], n_q: int) -> None:
    codes, wanted = vectors[f"codes_nq{n_q}"].long(), vectors[f"output_nq{n_q}"]
    found = golden.decode(CodedChunk(codes, no_scales(wanted)), wanted.shape[2])
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


@needs_golden
@torch.inference_mode()
def test_chunks_give_the_reference_s_codes(golden: Hilcodec, vectors: dict[str, Tensor]) -> None:
    wav, wanted = vectors["input"], vectors["codes_nq12"][0].long()
    state = golden.start_encoder(1)
    parts = [golden.encode_chunk(part, state, 12).codes for part in wav.split(1700, 2)]
    parts.append(golden.encode_chunk(wav[..., :0], state, 12, last=True).codes)
    found = torch.cat(parts, 2)[0]
    assert found.shape == wanted.shape
    check_ties(golden, latents_of(golden, wav)[0].double(), found, wanted)


def n_convolution_outputs() -> int:
    """Return the channels that all convolutions at full size give, taken together."""
    total = width = 64
    for _ in range(4):  # two units of two separable convolutions, a spectrum, a separable stride
        total += 2 * 2 * 2 * width + width + 2 * 2 * width
        width *= 2
    total += width + width + 128
    width = 1536
    total += 2 * width
    for _ in range(4):  # a transposed one, a 1x1, three units
        total += width + width // 2 + 3 * 2 * 2 * (width // 2)
        width //= 2
    return total + 1


def test_parameters_are_those_of_the_paper() -> None:
    """9.58 M, without the codebooks; speech and music differ in those only.

    That counts the magnitudes of weight norm, one for each output of a convolution.
    """
    for name in ("hilcodec_music", "hilcodec_speech"):
        with torch.device("meta"):
            codec = Hilcodec(PRESETS[name])
        n_parameters = sum(parameter.numel() for parameter in codec.parameters())
        assert n_parameters == 9_537_626
        assert round((n_parameters + n_convolution_outputs()) / 1e6, 2) == 9.58


@torch.inference_mode()
def test_full_size_in_chunks_equals_the_whole() -> None:
    torch.manual_seed(2)
    codec = Hilcodec(PRESETS["hilcodec_music"])
    with torch.no_grad():
        for parameter in codec.parameters():  # the learnt gains start at 0
            if parameter.numel() == 1:
                parameter.add_(0.3)
    codec.eval()
    wav = 0.1 * torch.randn(1, 1, 12345)
    whole = codec.encode(wav, 4)
    state = codec.start_encoder(1)
    parts = [codec.encode_chunk(part, state, 4).codes for part in wav.split(5000, 2)]
    parts.append(codec.encode_chunk(wav[..., :0], state, 4, last=True).codes)
    assert (torch.cat(parts, 2) != whole.codes).any(1).float().mean() < 0.05
    decoder = codec.start_decoder(1)
    decoded = [
        codec.decode_chunk(CodedChunk(part, whole.scales), decoder)
        for part in whole.codes.split(7, 2)
    ]
    together = codec.decode(whole, 12345)
    torch.testing.assert_close(torch.cat(decoded, 2)[..., :12345], together, atol=1e-5, rtol=0)


def tiny() -> Hilcodec:
    """A codec with random weights everywhere."""
    torch.manual_seed(5)
    codec = Hilcodec(PRESETS["hilcodec-tiny"])
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return codec


def unchanged(latents: Tensor) -> Tensor:
    return latents


def test_every_weight_is_trained() -> None:
    codec = tiny()
    wav = 0.1 * torch.randn(2, 1, 800)
    codec.reconstruct(wav, unchanged)[0].square().sum().backward()
    without = [name for name, weight in codec.named_parameters() if weight.grad is None]
    assert not without
    assert all(weight.grad.abs().sum() > 0 for weight in codec.parameters())


def test_training_sees_what_inference_computes() -> None:
    codec = tiny().eval()
    wav = 0.1 * torch.randn(2, 1, 803)
    trained = codec.reconstruct(wav, unchanged)[0].detach()
    with torch.inference_mode():
        torch.testing.assert_close(codec.reconstruct(wav, unchanged)[0], trained, atol=1e-5, rtol=0)


def test_trains_in_mixed_precision() -> None:
    codec = tiny()
    wav = 0.1 * torch.randn(2, 1, 800)
    whole = codec.reconstruct(wav, unchanged)[0].detach()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = codec.reconstruct(wav, unchanged)[0]
        mixed.float().square().sum().backward()
        with torch.no_grad():
            judged = codec.reconstruct(wav, unchanged)[0]
    most = 0.05 * whole.abs().max().item()
    torch.testing.assert_close(mixed.float(), whole, atol=most, rtol=0)
    torch.testing.assert_close(judged.float(), whole, atol=most, rtol=0)


def test_weights_may_change_between_two_runs() -> None:
    """What is folded at inference is folded anew."""
    codec, other = tiny().eval(), Hilcodec(PRESETS["hilcodec-tiny"]).eval()
    wav = 0.1 * torch.randn(1, 1, 800)

    def heard(of: Hilcodec) -> Tensor:
        with torch.inference_mode():
            return of.reconstruct(wav, unchanged)[0]

    before = heard(codec)
    heard(other)
    other.load_state_dict(codec.state_dict())
    assert torch.equal(heard(other), before)
    with torch.no_grad():
        other.decoder.levels[0].units[0].second.gain.mul_(2)
    assert not torch.equal(heard(other), before)


def test_silence_is_coded_without_a_division_by_zero() -> None:
    codec = tiny().eval()
    assert latents_of(codec, torch.zeros(1, 1, 800)).isfinite().all()


@torch.inference_mode()
def test_blocks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    wav = 0.1 * torch.randn(1, 1, 4003)
    whole = tiny().eval()
    monkeypatch.setattr("ncodec.models.hilcodec.BLOCK_STEPS", 7)
    monkeypatch.setattr("ncodec.models.hilcodec.BLOCK_NUMBERS", 1)
    blocks = tiny().eval()
    latents = latents_of(whole, wav)
    torch.testing.assert_close(latents_of(blocks, wav), latents, atol=1e-5, rtol=0)
    wanted, found = (codec.decoder(latents, {}, True) for codec in (whole, blocks))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
