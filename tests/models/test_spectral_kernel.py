"""`spectral` by the kernel is `spectral` in torch."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ncodec import native
from ncodec.audio import AudioSource
from ncodec.errors import ModelInvalid
from ncodec.hub.codecs import find, load_codec, load_torch_codec
from ncodec.models.base import ArrayChunk, Codec
from ncodec.models.spectral import SpectralCodec
from ncodec.models.spectral_base import PRESETS
from ncodec.models.spectral_kernel import SpectralKernel, shapes

SAMPLES = Path(__file__).parents[2] / "samples"
PATHS = native.paths()
pytestmark = pytest.mark.skipif(not PATHS, reason="the kernel was not built")


def random_codec(preset: str) -> SpectralCodec:
    torch.manual_seed(3)
    codec = SpectralCodec(PRESETS[preset]).eval().requires_grad_(False)
    for parameter in codec.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    return codec


def by_kernel(codec: SpectralCodec, path: str = PATHS[0] if PATHS else "") -> SpectralKernel:
    tensors = {name: tensor.numpy() for name, tensor in codec.state_dict().items()}
    return SpectralKernel(codec.config, tensors, path)


def noise(n_streams: int, n_samples: int, n_channels: int = 1) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    slow = rng.standard_normal((n_streams, n_channels, n_samples)).cumsum(-1)
    return (0.01 * slow + 0.05 * rng.standard_normal(slow.shape)).astype(np.float32)


def decoded(codec: Codec, chunk: ArrayChunk, cuts: tuple[int, ...] = ()) -> NDArray[np.float32]:
    n_frames = chunk.codes.shape[2]
    places, state = (0, *cuts, n_frames), codec.start_decoder(len(chunk.codes), 7)
    return np.concatenate([
        codec.decode_arrays(codec.cut(chunk, first, end), state, last=end == n_frames)
        for first, end in itertools.pairwise(places)
    ], axis=2)  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_tensors_are_those_of_torch(preset: str) -> None:
    state = SpectralCodec(PRESETS[preset]).state_dict()
    assert shapes(PRESETS[preset]) == {name: tuple(each.shape) for name, each in state.items()}


@pytest.mark.quick
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("preset", PRESETS)
def test_codes_and_audio_are_those_of_torch(preset: str, path: str) -> None:
    codec = random_codec(preset)
    kernel, wav = by_kernel(codec, path), noise(2, 30000, codec.config.n_channels)
    n_q = codec.config.n_codebooks // 2
    chunks = [
        each.encode_arrays(wav, each.start_encoder(2), n_q, last=True) for each in (codec, kernel)
    ]
    assert np.array_equal(chunks[0].codes, chunks[1].codes)
    np.testing.assert_allclose(chunks[0].scales, chunks[1].scales, rtol=1e-6)
    wanted, found = (decoded(each, chunks[0]) for each in (codec, kernel))
    assert np.abs(found - wanted).max() < 1e-5 * max(1.0, np.abs(wanted).max())
    n_frames = chunks[0].codes.shape[2]
    assert np.array_equal(decoded(kernel, chunks[0], (1, 2, n_frames // 2)), found)


@pytest.mark.parametrize("preset", PRESETS)
def test_live_chunks(preset: str) -> None:
    codec = random_codec(preset)
    config = codec.config
    kernel, hop = by_kernel(codec), config.samples_per_frame
    wav = noise(1, 12000, config.n_channels)
    states = codec.start_encoder(1), kernel.start_encoder(1)
    for first in range(0, wav.shape[2], 3 * hop + 1):
        part, last = wav[:, :, first : first + 3 * hop + 1], first + 3 * hop + 1 >= wav.shape[2]
        wanted, found = (
            each.encode_arrays(part, state, 4, last=last)
            for each, state in zip((codec, kernel), states, strict=True)
        )
        assert np.array_equal(wanted.codes, found.codes)
        np.testing.assert_allclose(wanted.scales, found.scales, rtol=1e-5)


@pytest.mark.parametrize("n_samples", [0, 1, 79, 80, 81])
def test_silence_and_few_samples(n_samples: int) -> None:
    codec = random_codec("spectral-tiny")
    kernel = by_kernel(codec)
    for wav in (np.zeros((1, 1, n_samples), np.float32), noise(1, n_samples)):
        chunks = [
            each.encode_arrays(wav, each.start_encoder(1), 2, last=True) for each in (codec, kernel)
        ]
        assert chunks[1].codes.shape == (1, 2, codec.n_frames(n_samples))
        assert np.array_equal(chunks[0].codes, chunks[1].codes)
        np.testing.assert_allclose(chunks[0].scales, chunks[1].scales, rtol=1e-6)
        audio = decoded(kernel, chunks[1])
        assert audio.shape == decoded(codec, chunks[0]).shape
        if not wav.any():
            assert not audio.any()


@pytest.mark.quick
def test_the_shipped_model_codes_a_recording_as_in_torch() -> None:
    model, sample = find("spectral"), SAMPLES / "speech_female.flac"
    kernel, codec = load_codec(model), load_torch_codec(model)
    assert isinstance(kernel, SpectralKernel)
    with AudioSource(sample) as source:
        wav = next(source.blocks(3 * source.sample_rate_hz))[:1, None]
    chunks = [
        each.encode_arrays(wav, each.start_encoder(1), 8, last=True) for each in (codec, kernel)
    ]
    assert np.array_equal(chunks[0].codes, chunks[1].codes)
    wanted, found = (decoded(each, chunks[0]) for each in (codec, kernel))
    assert np.abs(found - wanted).max() < 1e-5


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_other_tensors_are_refused(change: str) -> None:
    codec = random_codec("spectral-tiny")
    tensors = {name: tensor.numpy() for name, tensor in codec.state_dict().items()}
    if change == "missing":
        del tensors["decoder_in.bias"]
    elif change == "unknown":
        tensors["more"] = np.zeros(3)
    else:
        tensors["encoder.blocks.0.scale"] = np.zeros(3)
    with pytest.raises(ModelInvalid, match="weights do not fit the architecture: tensor"):
        SpectralKernel(codec.config, tensors, PATHS[0])


@pytest.mark.parametrize(
    "change",
    [{"width": 0}, {"encoder_blocks": 10**9}, {"kernel": "7"}, {"activation": "sine"},
     {"n_bands": 81}, {"lookahead_frames": -1}, {"expansion": True}],
    ids=str,
)  # fmt: skip
def test_sizes_that_are_not_possible_are_refused(change: dict[str, Any]) -> None:
    codec = random_codec("spectral-tiny")
    tensors = {name: tensor.numpy() for name, tensor in codec.state_dict().items()}
    with pytest.raises(ModelInvalid):
        SpectralKernel(replace(codec.config, **change), tensors, PATHS[0])
