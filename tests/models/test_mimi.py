"""Mimi: at its official size against transformers, and what its layers make of a stream.

The weights of the reference are random, saved as transformers saves them, and imported. The package
of the authors, moshi 0.2.13, was compared by hand in the same way.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from optional_torchaudio import torchaudio_or_stub
from torch import Tensor

from ncodec.hub.importers import Converted, recognise
from ncodec.models.base import CodedChunk
from ncodec.models.mimi import MIMI, PRESETS, Mimi
from ncodec.models.torch_codec import no_scales

HOP = MIMI.samples_per_frame
LOUDNESS = 0.02  # of the last layer, so that the audio of random weights comes near full scale


def draw(model: torch.nn.Module) -> None:
    """Draw all weights anew, so that no path is silent; codes are as large as the latents."""
    generator = torch.Generator().manual_seed(11)
    state = model.state_dict()
    for name, tensor in state.items():
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("cluster_usage"):
            tensor.copy_(3 * noise.abs() + 0.5)
        elif name.endswith("layer_scale.scale"):
            tensor.copy_(0.3 * noise)
        elif name.endswith("embed_sum"):
            level = 5 * 0.93 ** int(name.split("layers.")[1].split(".")[0])
            tensor.copy_(level * noise)
        elif "layernorm" in name:
            tensor.add_(0.2 * noise)
        elif name.endswith("bias"):
            tensor.add_(0.02 * noise)
        elif not name.endswith("initialized"):
            tensor.add_(0.1 * tensor * noise)
    for name, tensor in state.items():
        if name.endswith("embed_sum"):
            tensor.mul_(state[name.replace("embed_sum", "cluster_usage")][:, None])
    last = sorted(name for name in state if "decoder_seanet.layers.14." in name)
    assert len(last) == 2
    for name in last:
        state[name].mul_(LOUDNESS)


@pytest.fixture(scope="module")
def reference() -> Any:
    """The model of transformers with random weights."""
    with torchaudio_or_stub():
        from transformers import MimiConfig, MimiModel
    torch.manual_seed(0)
    model = MimiModel(MimiConfig()).eval()
    with torch.no_grad():
        draw(model)
    return model


@pytest.fixture(scope="module")
def imported(reference: Any, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """The same, saved by transformers and recognised by `ncodec models import`."""
    folder = tmp_path_factory.mktemp("mimi")
    reference.save_pretrained(folder)
    weights = folder / "model.safetensors"
    # So large is the file that kyutai/mimi has, and as many tensors are in it.
    assert (weights.stat().st_size, len(reference.state_dict())) == (384_649_828, 350)
    found = recognise(folder)
    weights.unlink()
    assert isinstance(found, Converted)
    return found


@pytest.fixture(scope="module")
def codec(imported: Converted) -> Mimi:
    made = Mimi(MIMI)
    made.load_state_dict(dict(imported.tensors))
    return made.eval()


@pytest.fixture
def tiny() -> Mimi:
    torch.manual_seed(5)
    made = Mimi(PRESETS["mimi-tiny"]).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made.eval()


def noise(n_samples: int) -> Tensor:
    generator = torch.Generator().manual_seed(n_samples)
    return 0.1 * torch.randn(1, 1, n_samples, generator=generator)


def coded(codes: Tensor) -> CodedChunk[Tensor]:
    return CodedChunk(codes, no_scales(codes.float()))


def n_ties(codec: Mimi, wav: Tensor, found: Tensor, wanted: Tensor) -> int:
    """Count the frames whose codes [1, Q, F] differ, having asserted that each began with a tie.

    A tie: two codes whose distances differ by less than 1e-5 of them.
    """
    differing = (found != wanted).any(1)[0].nonzero().flatten().tolist()
    latents = codec.latents(wav, codec.start_encoder(1), True)[0].double()
    for frame in differing:
        q = int((found[0, :, frame] != wanted[0, :, frame]).nonzero()[0])
        both = torch.stack([found[0, q, frame], wanted[0, q, frame]])
        books = codec.quantiser.codebooks.double()
        before = sum(books[k, wanted[0, k, frame]] for k in range(q))
        half = slice(0, MIMI.latent) if q == 0 else slice(MIMI.latent, None)
        distances = (latents[frame] - before - books[q, both])[:, half].square().sum(1)
        assert abs(distances[0] - distances[1]) < 1e-5 * distances[0], (
            f"frame {frame}, codebook {q}"
        )
    return len(differing)


# At the official size.


def test_what_is_imported(imported: Converted, reference: Any) -> None:
    assert (imported.kind, imported.model_id, imported.config) == ("codec", "mimi", MIMI)
    assert imported.architecture == "mimi"
    assert imported.facts["licence"] == "CC BY 4.0"
    with torch.device("meta"):
        n_parameters = sum(parameter.numel() for parameter in Mimi(MIMI).parameters())
    assert n_parameters == sum(each.numel() for each in reference.parameters()) == 79_308_609


@pytest.mark.parametrize(("n_samples", "n_q"), [(HOP, 32), (10 * HOP, 8), (4 * HOP + 777, 32)])
@torch.inference_mode()
def test_same_codes_and_audio_as_transformers(
    codec: Mimi, reference: Any, n_samples: int, n_q: int
) -> None:
    wav = noise(n_samples)
    whole = F.pad(wav, (0, -n_samples % HOP))  # as the authors do; transformers pads each layer
    wanted = reference.encode(whole, num_quantizers=n_q).audio_codes
    found = codec.encode(wav, n_q).codes
    assert found.shape == wanted.shape == (1, n_q, -(-n_samples // HOP))
    assert n_ties(codec, wav, found, wanted) <= 1
    for used in (1, n_q):
        decoded = reference.decode(wanted[:, :used]).audio_values
        assert 0.05 < decoded.abs().max() < 2
        audio = codec.decode(coded(wanted[:, :used]), whole.shape[2])
        torch.testing.assert_close(audio, decoded, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_the_window_ends_where_that_of_transformers_does(codec: Mimi, reference: Any) -> None:
    n_steps = MIMI.window + 20
    steps = torch.randn(1, n_steps, MIMI.width, generator=torch.Generator().manual_seed(1))
    for ours, theirs in (
        (codec.encoder.transformer, reference.encoder.encoder_transformer),
        (codec.decoder.transformer, reference.decoder.decoder_transformer),
    ):
        wanted = theirs(steps).last_hidden_state
        torch.testing.assert_close(ours(steps, {}), wanted, atol=1e-4, rtol=0)
        narrower = replace(MIMI, window=MIMI.window - 1).transformer()
        narrower.load_state_dict(ours.state_dict())
        assert (narrower(steps, {}) - wanted).abs().max() > 1e-3


@torch.inference_mode()
def test_full_size_in_chunks_equals_the_whole(codec: Mimi) -> None:
    wav = noise(12 * HOP + 5)
    whole = codec.encode(wav, 8)
    state = codec.start_encoder(1)
    parts = [codec.encode_chunk(part, state, 8).codes for part in wav.split(5000, 2)]
    parts.append(codec.encode_chunk(wav[..., :0], state, 8, last=True).codes)
    assert n_ties(codec, wav, torch.cat(parts, 2), whole.codes) <= 1
    decoder = codec.start_decoder(1)
    pieces = [codec.decode_chunk(coded(part), decoder) for part in whole.codes.split(3, 2)]
    together = codec.decode(whole, wav.shape[2])
    joined = torch.cat(pieces, 2)[..., : wav.shape[2]]
    torch.testing.assert_close(joined, together, atol=1e-5, rtol=0)


def test_rates() -> None:
    assert MIMI.frame_rate_hz == 12.5
    assert [MIMI.n_q_for(kbps) for kbps in MIMI.bandwidths_kbps] == [8, 16, 32]
    assert MIMI.n_q_for(MIMI.default_bandwidth_kbps) == 8


def test_context_at_full_size_is_over_a_minute() -> None:
    with torch.device("meta"):
        made = Mimi(MIMI)
    assert made.warmup_frames == 1001  # 8 layers x 249 steps, the convolutions, the upsampling
    assert not made.has_finite_context
    assert made.latency_samples == HOP


# With few channels.


@torch.inference_mode()
def test_warmup_is_exact(tiny: Mimi) -> None:
    """So many frames before a place are enough, and one less is not."""
    n, hop = tiny.warmup_frames, tiny.config.samples_per_frame
    assert tiny.has_finite_context
    latents = torch.randn(1, n + 12, 2 * tiny.config.latent, dtype=torch.float64)
    wanted = tiny.decoder(latents, {})[:, (n + 10) * hop :]
    enough = tiny.decoder(latents[:, 10:], {})[:, n * hop :]
    torch.testing.assert_close(enough, wanted, atol=1e-12, rtol=0)
    less = tiny.decoder(latents[:, 11:], {})[:, (n - 1) * hop :]
    assert (less[:, 0] - wanted[:, 0]).abs().max() > 1e-12


def n_bytes(memory: Any) -> int:
    """The bytes that the tensors of a state keep alive."""
    kept = [each if isinstance(each, tuple) else (each,) for each in memory.values()]
    tensors = [part for each in kept for part in each if isinstance(part, Tensor)]
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


@torch.inference_mode()
def test_memory_of_a_long_stream_is_constant(tiny: Mimi) -> None:
    hop, encoder, decoder = 80, tiny.start_encoder(1), tiny.start_decoder(1)
    sizes = []
    for _ in range(4):
        chunk = tiny.encode_chunk(torch.randn(1, 1, 30 * hop).double(), encoder, 2)
        tiny.decode_chunk(chunk, decoder)
        sizes.append((n_bytes(encoder.memory), n_bytes(decoder)))
    assert len(set(sizes)) == 1
    assert min(sizes[0]) > 1000


@torch.inference_mode()
def test_the_quantiser_is_two_of_their_own(tiny: Mimi) -> None:
    """A semantic codebook, and a residual quantiser that starts from its own latents."""
    size = tiny.config.latent
    latents = torch.randn(1, 40, 2 * size, dtype=torch.float64)
    semantic, acoustic = latents[0].split(size, 1)
    books = tiny.quantiser.codebooks
    assert not books[0, :, size:].any()
    assert not books[1:, :, :size].any()
    wanted = [torch.cdist(semantic, books[0, :, :size]).argmin(1)]
    for q in range(1, tiny.config.n_codebooks):
        book = books[q, :, size:]
        wanted.append(torch.cdist(acoustic, book).argmin(1))
        acoustic = acoustic - book[wanted[-1]]
    assert torch.equal(tiny.quantiser.encode(latents, len(books))[0], torch.stack(wanted))
    assert len(wanted[0].unique()) > 4
