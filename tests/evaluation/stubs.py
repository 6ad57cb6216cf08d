"""Codecs that only add noise, and clips for them."""

from pathlib import Path

import numpy as np
import soundfile

from ncodec.errors import AudioError
from ncodec.evaluation import RoundTrip

RATE = 8000


class NoiseCoder:
    """Adds noise that gets less with the bandwidth, and comes 20 samples late."""

    def __init__(self, name: str, bandwidth_kbps: float) -> None:
        self.name, self.bandwidth_kbps = name, bandwidth_kbps

    def code(self, wav: np.ndarray, sample_rate_hz: int) -> RoundTrip:
        if wav.shape[0] > 2:
            raise AudioError(f"{wav.shape[0]} channels")
        added = np.random.default_rng(1).standard_normal(wav.shape) * 0.05 / self.bandwidth_kbps
        late = np.pad(wav, ((0, 0), (20, 0)))[:, : wav.shape[1]] + added
        n_bytes = round(self.bandwidth_kbps * 125 * wav.shape[1] / sample_rate_hz)
        return RoundTrip(late.astype(np.float32), n_bytes + 50, n_bytes, 0.5, 0.25)


def make_clip(path: Path, seconds: float = 2.0, channels: int = 1, seed: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    n = round(seconds * RATE)
    t = np.arange(n)[:, None] / RATE
    wav = 0.2 * np.sin(2 * np.pi * (200 + 100 * t) * t)
    wav = wav + 0.02 * np.random.default_rng(seed).standard_normal((n, channels))
    soundfile.write(path, wav, RATE)
    return path
