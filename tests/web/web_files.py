"""Files that the player's decoder is tested with."""

from pathlib import Path

import numpy as np
from click.testing import CliRunner
from numpy.typing import NDArray

import ncodec
from ncodec.cli.main import main
from ncodec.hub.model_files import SHIPPED

SHIPPED_MODELS = (SHIPPED / "spectral.safetensors", SHIPPED / "entropy" / "spectral.safetensors")
CODERS = ("packed", "adaptive", "mixed", "transformer")


def sound(n_channels: int, rate_hz: int, seconds: float) -> NDArray[np.float32]:
    """Tones that come and go, and noise: [C, T]."""
    rng = np.random.default_rng(n_channels * rate_hz)
    time = np.arange(int(seconds * rate_hz)) / rate_hz
    tones = [np.sin(2 * np.pi * 220 * (channel + 1) * time) for channel in range(n_channels)]
    wav = np.stack(tones) * (0.3 + 0.2 * np.sin(7 * time))
    return (wav + 0.02 * rng.standard_normal(wav.shape)).astype(np.float32)


def tiny_file(entropy: str, n_channels: int = 1, seconds: float = 0.7, rate: int = 8000) -> bytes:
    wav = sound(n_channels, rate, seconds)
    return ncodec.encode(wav, rate, model="modelled", entropy=entropy, bandwidth_kbps=0.8)


def live_file(entropy: str, n_channels: int) -> bytes:
    """Packets that depend on each other, and a length that only the trailer has."""
    encoder = ncodec.StreamEncoder(8000, n_channels, model="modelled", entropy=entropy)
    wav = sound(n_channels, 8000, 1.3)
    return b"".join(encoder.push(part) for part in np.split(wav, 13, axis=1)) + encoder.finish()


def repacked(folder: Path, *arguments: str) -> bytes:
    output = folder / "repacked.ncx"
    ran = CliRunner().invoke(main, ["repack", *arguments, "-f", "-o", str(output)])
    assert ran.exit_code == 0, ran.output
    return output.read_bytes()


def edited_files(folder: Path) -> list[tuple[str, bytes]]:
    """A file that was cut, one that was joined of such, and one that was repaired with a gap."""
    source, cut = folder / "source.ncx", folder / "cut.ncx"
    source.write_bytes(tiny_file("adaptive", 2, 3.0, 11025))
    cut.write_bytes(repacked(folder, "--start", "0.31", "--end", "1.57", str(source)))
    joined = repacked(folder, "--join", str(cut), str(source), str(cut))
    return [("cut.ncx", cut.read_bytes()), ("joined.ncx", joined)]
