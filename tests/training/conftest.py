"""A corpus of a few tones and noises, and a run that trains the tiny preset on it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ncodec import audio
from ncodec.training.config import TrainConfig, read_config

TOML = """
preset = "spectral-tiny"
model_id = "tiny"
licence = "CC0-1.0"
log_every = 5
save_every = 10
bfloat16 = false

[data]
folders = ["{corpus}"]
packed = "{packed}"
validation = ["held/*"]
weights = [["tones/*", 1.0], ["noise/*", 1.0]]
seconds = 0.5

[quantiser]
fit_seconds = 4.0
n_q = [1, 2, 4]
n_q_weights = [1, 1, 2]
revive_every = 5

[optimiser]
steps = 20
batch_size = 4
warmup = 5
decoder_rate = 3e-3
encoder_rate = 1e-3
"""


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    t = np.arange(16000) / 8000
    for group in ("tones", "noise", "held"):
        (folder / group).mkdir()
        for number in range(3):
            tone = 0.3 * np.sin(2 * np.pi * (200 + 150 * number) * t)
            noise = 0.1 * rng.standard_normal(len(t))
            wav = noise if group == "noise" else tone
            audio.write(folder / group / f"{number}.wav", wav[None].astype(np.float32), 8000)
    (folder / "notes.txt").write_text("not audio")
    (folder / "tones" / "broken.flac").write_bytes(b"fLaC broken")
    return folder


@pytest.fixture
def config(corpus: Path, tmp_path: Path) -> TrainConfig:
    path = tmp_path / "run.toml"
    path.write_text(TOML.format(corpus=corpus, packed=tmp_path / "packed"))
    return read_config(path)


@pytest.fixture
def denoising(config: TrainConfig) -> TrainConfig:
    """A run of the other kind of codec: waveforms at their own level, noise that can go."""
    data = replace(config.data, weights=(("tones/*", 1.0),), noise=(("noise/*", 1.0),))
    return replace(config, architecture="soundstream", preset="soundstream-tiny", data=data)
