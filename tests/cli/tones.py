"""Audio for the tests of the commands."""

import io
from pathlib import Path

import numpy as np
import soundfile


def tone(n_samples: int, n_channels: int = 1, rate: int = 8000) -> np.ndarray:
    """Return [T, C], another pitch in each channel."""
    t = np.arange(n_samples)[:, None] / rate
    return 0.3 * np.sin(2 * np.pi * t * (300 + 100 * np.arange(n_channels)))


def make_audio(
    name: str, n_samples: int = 4000, n_channels: int = 1, rate: int = 8000,
    subtype: str | None = None, **tags: str,
) -> Path:  # fmt: skip
    """Write tones into a file; the suffix of its name chooses the format."""
    with soundfile.SoundFile(name, "w", rate, n_channels, subtype) as file:
        for key, text in tags.items():
            setattr(file, key, text)
        file.write(tone(n_samples, n_channels, rate))
    return Path(name)


def wav_bytes(n_samples: int = 4000, n_channels: int = 1, rate: int = 8000) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, tone(n_samples, n_channels, rate), rate, "PCM_16", format="WAV")
    return stream.getvalue()
