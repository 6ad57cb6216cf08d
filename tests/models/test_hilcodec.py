"""HILCodec against vectors of its authors' implementation, and at its full size."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ncodec.hub.importers.hilcodec import convert
from ncodec.models.base import CodedChunk
from ncodec.models.hilcodec import PRESETS, Hilcodec
from ncodec.models.torch_codec import no_scales

TESTS = Path(__file__).parents[1]
SMALL = TESTS / "golden" / "hilcodec"  # random weights
MUSIC = TESTS.parents[1] / "shared" / "golden" / "hilcodec-music-small"  # those of a trained codec
MANY = pytest.mark.skipif(not MUSIC.is_dir(), reason="the trained codec is not here")


@dataclass(frozen=True)
class Reference:
    """The authors' codec, converted as `ncodec models import` does, and what theirs made."""

    codec: Hilcodec
    vectors: dict[str, Tensor]
    n_sure: int  # codebooks whose vectors are far enough apart for any rounding

    @property
    def every_n_q(self) -> list[int]:
        return sorted(int(name[8:]) for name in self.vectors if name.startswith("codes_nq"))


@pytest.fixture(scope="module", params=[pytest.param(SMALL, id="small"),
                                        pytest.param(MUSIC, id="music", marks=MANY)])  # fmt: skip
def reference(request: pytest.FixtureRequest) -> Reference:
    folder: Path = request.param
    config = json.loads((folder / "config.json").read_text())
    converted = convert(load_file(folder / "weights.safetensors"), config)
    assert converted is not None
    codec = Hilcodec(converted.config)
    codec.load_state_dict(dict(converted.tensors))
    # The deeper codebooks of the trained one are so small, 1e-2 of the first at the sixth and 1e-6
    # at the last, that rounding decides there.
    n_sure = 6 if folder == MUSIC else codec.config.n_codebooks
    return Reference(codec.eval(), load_file(folder / "vectors.safetensors"), n_sure)


@torch.inference_mode()
def latents_of(codec: Hilcodec, wav: Tensor) -> Tensor:
    """Return the latents [B, F, D] of [B, 1, T]."""
    seen = []

    def see(latents: Tensor) -> Tensor:
        seen.append(latents)
        return latents

    codec.reconstruct(wav, see)
    return seen[0]


def check_ties(reference: Reference, found: Tensor, wanted: Tensor) -> None:
    """Assert that codes [Q, F] are the same, but for ties: distances within 1e-5 of each other."""
    assert found.shape == wanted.shape
    latents = latents_of(reference.codec, reference.vectors["input"])[0].double()
    differing = (found != wanted).any(0).nonzero().flatten().tolist()
    books = reference.codec.quantiser.codebooks.double()
    for frame in differing:
        q = int((found[:, frame] != wanted[:, frame]).nonzero()[0])
        left = latents[frame].clone()
        for before in range(q):
            left -= books[before, wanted[before, frame]]
        both = books[q, torch.stack([found[q, frame], wanted[q, frame]])]
        near, far = (left - both).square().sum(1).tolist()
        assert abs(near - far) < 1e-5
    assert torch.equal(found[: reference.n_sure], wanted[: reference.n_sure])


def test_latents_are_the_reference_s(reference: Reference) -> None:
    latents = latents_of(reference.codec, reference.vectors["input"])
    torch.testing.assert_close(latents, reference.vectors["latent"].mT, atol=1e-4, rtol=0)


def test_codes_are_the_reference_s(reference: Reference) -> None:
    assert len(reference.every_n_q) >= 3
    for n_q in reference.every_n_q:
        found = reference.codec.encode(reference.vectors["input"], n_q).codes[0]
        check_ties(reference, found, reference.vectors[f"codes_nq{n_q}"][0].long())


def test_audio_is_the_reference_s(reference: Reference) -> None:
    for n_q in reference.every_n_q:
        codes = reference.vectors[f"codes_nq{n_q}"].long()
        wanted = reference.vectors[f"output_nq{n_q}"]
        found = reference.codec.decode(CodedChunk(codes, no_scales(wanted)), wanted.shape[2])
        assert wanted.std() > 0.01
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_chunks_give_the_reference_s_codes(reference: Reference) -> None:
    wav, n_q = reference.vectors["input"], reference.every_n_q[-1]
    state = reference.codec.start_encoder(1)
    parts = [reference.codec.encode_chunk(part, state, n_q).codes for part in wav.split(1700, 2)]
    parts.append(reference.codec.encode_chunk(wav[..., :0], state, n_q, last=True).codes)
    check_ties(reference, torch.cat(parts, 2)[0], reference.vectors[f"codes_nq{n_q}"][0].long())


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
