"""Encoders run on other devices: all that they make is where their input is."""

import contextlib
from pathlib import Path

import pytest
import torch

from ncodec.hub.codecs import installed, load_torch_codec


@pytest.mark.parametrize("width", [1, 4])
def test_nothing_of_an_encoder_stays_behind(
    architectures: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """On torch's device without memory, an operator that meets a tensor of the CPU fails."""
    monkeypatch.setenv("NCODEC_CACHE", str(architectures))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)  # neither knows the device
    models = [model for model in installed() if model.path.is_relative_to(architectures)]
    assert {model.architecture for model in models} == {
        "spectral", "soundstream", "encodec", "hilcodec", "dac", "snac", "mimi",
    }  # fmt: skip
    for model in models:
        codec = load_torch_codec(model, "meta")
        wav = torch.zeros(2, codec.config.n_channels, 10_000, device="meta")
        state = codec.start_encoder(2, search=width)
        n_q = 2 if 2 in codec.config.n_q_choices else 3
        for last in (False, False, True):
            chunk = codec.encode_chunk(wav, state, n_q, last=last)
            assert chunk.codes.device.type == chunk.scales.device.type == "meta"
        assert chunk.codes.shape[-1] > 0
