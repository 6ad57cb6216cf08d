"""Whole audio files of many formats, and what becomes of them: cuts, flips, inserted bytes."""

import io
import random
import tempfile
from pathlib import Path

import av
import numpy as np
import soundfile
from made_by_ffmpeg import make

from ncodec.audio import AudioSource
from ncodec.errors import AudioError

RATE_HZ = 44100
N = 12_000
BY_LIBSNDFILE = {
    "wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"), "aiff": ("AIFF", "PCM_24"),
}  # fmt: skip
BY_FFMPEG = ("aac.m4a", "alac.m4a", "wv.wv", "opus.mka", "flac.oga", "tta.tta", "aac.aac")


def whole_files() -> dict[str, bytes]:
    """Return a file of every format."""
    t = np.arange(N) / RATE_HZ
    rng = np.random.default_rng(3)
    wav = 0.3 * np.sin(2 * np.pi * 440 * t) + 0.05 * rng.uniform(-1, 1, (2, N))
    found: dict[str, bytes] = {}
    for name, (container, subtype) in BY_LIBSNDFILE.items():
        file = io.BytesIO()
        rate = 48000 if subtype == "OPUS" else RATE_HZ
        soundfile.write(file, wav.T, rate, subtype, format=container)
        found[name] = file.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        for name in BY_FFMPEG:
            path = make(name, Path(folder) / name, wav.astype(np.float32))
            found[name] = path.read_bytes()
    return found


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Cut, flip, overwrite, insert or leave out bytes, once or a few times."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(changed)) if changed else 0
        if rng.random() < 0.3:
            at = min(at, rng.randrange(200))  # the header
        n = rng.choice((1, 2, 4, 16, 200))
        match rng.randrange(5):
            case 0:
                del changed[at:]
            case 1:
                changed[at : at + 1] = (
                    bytes((changed[at] ^ 1 << rng.randrange(8),)) if changed else b""
                )
            case 2:
                changed[at : at + n] = rng.randbytes(min(n, len(changed) - at))
            case 3:
                changed[at:at] = rng.randbytes(n)
            case _:
                del changed[at : at + n]
    return bytes(changed)


def n_by_pyav(content: bytes) -> int | None:
    """Return the samples that PyAV decodes, None where it does not read all of it."""
    try:
        with av.open(io.BytesIO(content), metadata_errors="ignore") as file:
            n = 0
            for frame in file.decode(audio=0):
                n += frame.samples
            return n
    except (av.error.FFmpegError, IndexError, ValueError):
        return None


def read_by_us(content: bytes) -> tuple[int, bool] | AudioError:
    """Return the samples, and whether something was said; or the error."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        try:
            with AudioSource(file) as source:
                n = sum(block.shape[1] for block in source.blocks(5000))
                return n, bool(source.remarks)
        except AudioError as error:
            return error
