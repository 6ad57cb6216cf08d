"""EnCodec at its official sizes, against the package of its authors, and against transformers.

The weights are random, drawn once and converted as a checkpoint would be.
"""

import functools
from typing import Any

import pytest
import torch
from reference_encodec import reference
from torch import Tensor

from ncodec.hub.importers.encodec import convert
from ncodec.models.base import CodedChunk
from ncodec.models.encodec import PRESETS, Encodec

RATES = {
    "encodec_24khz": (24000, 1, 24.0),
    "encodec_48khz": (48000, 2, 24.0),
    "encodec_32khz": (32000, 1, 2.2),
}


def draw(model: torch.nn.Module) -> None:
    """Draw all weights anew, the codebooks at the size of what each is left."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if "norm" in name and name.endswith("weight") and tensor.ndim == 1:
                continue
            if "codebook.embed" in name and not name.endswith("avg"):
                level = 1.0 * 0.9 ** int(name.split("layers.")[1].split(".")[0])
                tensor.copy_(level * torch.randn(tensor.shape, generator=generator))
            elif tensor.ndim and "codebook" not in name:
                tensor.add_(0.02 * torch.randn(tensor.shape, generator=generator))


def theirs(name: str) -> Any:
    package = reference()
    torch.manual_seed(4)
    model = getattr(package.model.EncodecModel, f"encodec_model_{name[8:]}")(pretrained=False)
    draw(model)
    model.set_target_bandwidth(RATES[name][2])
    return model.eval()


@functools.cache
def of_transformers(name: str) -> tuple[Any, Encodec]:
    """Return a model of transformers, and ours of the same weights."""
    model = transformers_model(name)
    return model, ours(model, model.config.to_dict())


def transformers_model(name: str) -> Any:
    from transformers import EncodecConfig, EncodecModel

    changed: dict[str, dict[str, Any]] = {
        "encodec_24khz": {},
        "encodec_48khz": {
            "target_bandwidths": [3.0, 6.0, 12.0, 24.0], "sampling_rate": 48000,
            "audio_channels": 2, "normalize": True, "chunk_length_s": 1.0, "overlap": 0.01,
            "use_causal_conv": False, "norm_type": "time_group_norm",
        },
        "encodec_32khz": {
            "target_bandwidths": [2.2], "sampling_rate": 32000, "num_filters": 64,
            "upsampling_ratios": [8, 5, 4, 4], "codebook_size": 2048, "use_causal_conv": False,
            "use_conv_shortcut": False,
        },
    }  # fmt: skip
    torch.manual_seed(4)
    model = EncodecModel(EncodecConfig(**changed[name]))
    draw(model)
    return model.eval()


def ours(model: torch.nn.Module, config: dict[str, Any] | None = None) -> Encodec:
    converted = convert(model.state_dict(), config)
    assert converted is not None
    codec = Encodec(converted.config)
    codec.load_state_dict(dict(converted.tensors))
    return codec.eval()


def noise(name: str, seconds: float) -> Tensor:
    rate, n_channels, _ = RATES[name]
    generator = torch.Generator().manual_seed(3)
    n_samples = round(seconds * rate)
    slow = torch.randn(1, n_channels, n_samples, generator=generator).cumsum(-1)
    wav = slow - torch.nn.functional.avg_pool1d(slow, 101, 1, 50)
    return 0.1 * wav / wav.square().mean().sqrt().clamp_min(1e-3)


def n_ties(codec: Encodec, latents: Tensor, found: Tensor, wanted: Tensor) -> int:
    """Count the frames whose codes differ, having asserted that each began with a tie.

    latents [F, D]; codes [Q, F]. A tie: two codes whose distances differ by less than 1e-5.
    """
    differing = (found != wanted).any(0).nonzero().flatten().tolist()
    for frame in differing:
        q = int((found[:, frame] != wanted[:, frame]).nonzero()[0])
        residual = latents[frame].double()
        for before in range(q):
            residual = residual - codec.quantiser.codebooks[before][wanted[before, frame]].double()
        both = codec.quantiser.codebooks[q][[found[q, frame], wanted[q, frame]]].double()
        distances = (residual - both).square().sum(1)
        assert abs(float(distances[0] - distances[1])) < 1e-5, f"frame {frame}, codebook {q}"
    return len(differing)


@torch.inference_mode()
def compare(codec: Encodec, wav: Tensor, codes: list[Tensor], scales: Any, decoded: Tensor) -> None:
    """Compare the codes of segments [1, Q, F] and the audio decoded from them with ours."""
    chunk = codec.encode(wav, codes[0].shape[1])
    wanted = torch.cat(codes, 2)
    assert chunk.codes.shape == wanted.shape
    n_different = 0
    if not torch.equal(chunk.codes, wanted):
        starts = range(0, wav.shape[2], codec.config.segment_stride or wav.shape[2])
        length = codec.config.segment_samples or wav.shape[2]
        at = 0
        for number, start in enumerate(starts):
            piece = wav[..., start : start + length]
            if scales[number] is not None:
                piece = piece / scales[number].view(-1, 1, 1)
            latents = codec.encoder(piece.transpose(1, 2), {}, True)[0]
            place = slice(at, at + len(latents))
            n_different += n_ties(codec, latents, chunk.codes[0, :, place], wanted[0, :, place])
            at = place.stop
    print(f"ties: {n_different} of {wanted.shape[2]} frames")
    assert n_different <= 0.01 * wanted.shape[2] + 1
    if scales[0] is not None:
        torch.testing.assert_close(chunk.scales[0], torch.cat([s.view(1) for s in scales]))
    audio = codec.decode(CodedChunk(wanted, chunk.scales), wav.shape[2])
    torch.testing.assert_close(audio, decoded[..., : wav.shape[2]], atol=1e-4, rtol=0)


LENGTHS = [
    *(("encodec_24khz", seconds) for seconds in (2.0, 1.23457, 0.02, 1 / 24000)),
    *(("encodec_48khz", seconds) for seconds in (1.0, 2.5, 0.02, 0.993, 1.9805, 1.9899)),
]


@pytest.mark.parametrize(("name", "seconds"), LENGTHS)
@torch.inference_mode()
def test_same_codes_and_audio_as_the_authors_package(name: str, seconds: float) -> None:
    model = theirs(name)
    wav = noise(name, seconds)
    frames = model.encode(wav)
    codes, scales = [frame[0] for frame in frames], [frame[1] for frame in frames]
    compare(ours(model), wav, codes, scales, model.decode(frames))


AT_ONCE = [("encodec_24khz", 1.99), ("encodec_48khz", 1.99)]  # whole segments
AHEAD = [("encodec_32khz", seconds) for seconds in (0.61, 0.40283, 0.02, 1 / 32000)]


@pytest.mark.parametrize(("name", "seconds"), AT_ONCE + AHEAD)
@torch.inference_mode()
def test_same_codes_and_audio_as_transformers(name: str, seconds: float) -> None:
    model, codec = of_transformers(name)
    wav = noise(name, seconds)
    coded = model.encode(wav, bandwidth=RATES[name][2])
    codes, padded = list(coded.audio_codes), coded.last_frame_pad_length
    codes[-1] = codes[-1][..., : codes[-1].shape[-1] - padded]
    decoded = model.decode(
        coded.audio_codes, coded.audio_scales, last_frame_pad_length=padded
    ).audio_values
    assert codec.config == PRESETS[name]
    compare(codec, wav, codes, coded.audio_scales, decoded)


@pytest.mark.parametrize(("name", "seconds", "n_q"), [("encodec_24khz", 3.1, 8),
                                                      ("encodec_32khz", 0.80173, 4)])  # fmt: skip
@torch.inference_mode()
def test_chunks_give_the_codes_of_the_whole(name: str, seconds: float, n_q: int) -> None:
    _, codec = of_transformers(name)
    wav = noise(name, seconds)
    whole = codec.encode(wav, n_q)
    state = codec.start_encoder(1)
    parts = [codec.encode_chunk(piece, state, n_q) for piece in wav.split(7000, 2)]
    parts.append(codec.encode_chunk(wav[..., :0], state, n_q, last=True))
    codes = torch.cat([part.codes for part in parts], 2)
    assert (codes != whole.codes).any(1).float().mean() < 0.01
    decoded = codec.decode(whole, wav.shape[2])
    decoder = codec.start_decoder(1)
    pieces = [
        codec.decode_chunk(CodedChunk(part, whole.scales), decoder)
        for part in whole.codes.split(11, 2)
    ]
    pieces.append(codec.decode_chunk(codec.no_codes(wav, n_q), decoder, last=True))
    joined = torch.cat(pieces, 2)[..., : wav.shape[2]]
    torch.testing.assert_close(joined, decoded, atol=1e-4, rtol=0)
