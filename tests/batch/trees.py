"""Trees of audio for the tests of ncodec.batch."""

import os
from collections.abc import Callable, Generator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import ncodec.batch
from ncodec.batch import AudioFormat, EncodeOptions, FileOptions, Outcome, WorkerPool
from ncodec.batch.storage import STATE

ODD = "Größe 音楽 \udcff\N{MUSICAL SYMBOL G CLEF} 'x' $(y)\n z"


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str


def convert(
    src: str | Path, dst: str | Path, *, decode: bool = False,
    on_progress: Callable[[int], None] = lambda n_bytes: None, **options: Any,
) -> Generator[Outcome, None, None]:  # fmt: skip
    """Call `ncodec.batch.convert`, each option in the object that has it."""
    kinds = (AudioFormat if decode else EncodeOptions, FileOptions, WorkerPool)
    chosen = [
        kind(**{one.name: options.pop(one.name) for one in fields(kind) if one.name in options})
        for kind in kinds
    ]
    assert not options
    return ncodec.batch.convert(src, dst, *chosen, on_progress=on_progress)


def make_audio(
    path: Path | str, n_samples: int = 4000, n_channels: int = 1, rate: int = 8000,
    subtype: str | None = None, seed: int = 0, **tags: str,
) -> Path:  # fmt: skip
    """Write noise; the suffix chooses the format."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed + n_samples + n_channels)
    noise = 0.2 * rng.standard_normal((n_samples, n_channels))
    name = os.fsencode(path) if os.name == "posix" else str(path)
    kind = {".opus": "OGG", ".oga": "OGG"}.get(path.suffix.lower())
    subtype = "OPUS" if path.suffix == ".opus" else subtype
    with soundfile.SoundFile(name, "w", rate, n_channels, subtype, format=kind) as file:
        for key, text in tags.items():
            setattr(file, key, text)
        file.write(noise)
    os.utime(path, ns=(1_500_000_000_123_456_789 + seed, 1_500_000_000_123_456_789 + seed))
    return path


def make_mixed(root: Path) -> int:
    """Fill a folder with audio of many kinds; return how many files that are."""
    kinds = [
        ("mono.wav", {}),
        ("stereo.flac", {"n_channels": 2, "title": "Hum", "artist": "Bee"}),
        ("low.wav", {"rate": 11025, "n_samples": 5000}),
        ("high.flac", {"rate": 48000, "n_samples": 30_000}),
        ("lossy.ogg", {"rate": 16000}),
        ("lossy.mp3", {"rate": 44100, "n_samples": 30_000}),
        ("speech.opus", {"rate": 16000}),
        ("UPPER.WAV", {"subtype": "FLOAT"}),
        ("old.aiff", {"subtype": "PCM_24"}),
        ("long.w64", {"n_samples": 200_000}),
        ("longer.mp3", {"rate": 16000, "n_samples": 200_000}),
        ("nothing.wav", {"n_samples": 0}),
        ("a/b/c/deep.wav", {}),
        ("a/b/c/same length.wav", {"seed": 5}),
        (f"{ODD}/{ODD}.wav", {}),
    ]
    for number, (name, how) in enumerate(kinds):
        make_audio(root / name, **{"seed": number, **how})
    return len(kinds)


def contents(root: Path) -> dict[str, bytes]:
    """Return all files but those of the state."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and STATE not in path.parts
    }


def state_files(root: Path) -> list[str]:
    """Return what kinds of files are in the state's folder."""
    return sorted({path.suffix for path in (root / STATE).iterdir()})
