"""Which audio is coded: files and folders, the groups they fall into, and the excerpt of each.

Shapes: C channels, T samples.
"""

import contextlib
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ncodec.audio import AudioSource, resample
from ncodec.audio.base import Audio
from ncodec.errors import NcodecError, UsageError
from ncodec.formats.audio_files import readable

SPEECH = "*speech*"


@dataclass(frozen=True, slots=True)
class Clip:
    """A file to code."""

    path: Path
    name: str  # what the report calls it: the group, /, and the path below it
    group: str
    is_speech: bool  # STOI and PESQ are measured


@dataclass(frozen=True, slots=True)
class Excerpt:
    """How much of a clip is coded, and as what."""

    seconds: float | None = 10.0  # from its middle; None for all
    sample_rate_hz: int | None = None  # to resample it to; None for its own
    mono: bool = False


def find_clips(
    files: Sequence[Path], folders: Sequence[Path] = (), *, patterns: Sequence[str] | None = None,
    speech: str = SPEECH, per_group: int | None = None,
) -> list[Clip]:  # fmt: skip
    """Return the clips, group by group and by name.

    The group of a file in a folder is the sub-folder that it lies below, or else the folder
    itself; that of a single file is the folder it lies in.

    patterns   only files whose path below a folder, or the folder's name and that path, matches
    speech     pattern of the names of clips that are speech
    per_group  at most so many of each group, evenly spread over its names

    Raises UsageError where that leaves none.
    """
    groups: dict[str, dict[str, Clip]] = {}

    def add(path: Path, group: str, below: str) -> None:
        name, named = f"{group}/{below}", groups.setdefault(group, {})
        if name in named and not named[name].path.samefile(path):
            name = path.as_posix()
        is_speech = fnmatch.fnmatch(name.lower(), speech.lower())
        named[name] = Clip(path, name, group, is_speech)

    for path in files:
        add(path, path.absolute().parent.name or "/", path.name)
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder")
        title = folder.resolve().name or "/"
        for path in sorted(folder.rglob("*")):
            below = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in below.parts)
            if hidden or path.suffix.lower() not in readable() or not path.is_file():
                continue
            if patterns is not None and not _matches(title, below, patterns):
                continue
            inside = len(below.parts) > 1
            group = below.parts[0] if inside else title
            add(path, group, "/".join(below.parts[1:] if inside else below.parts))
    clips = [
        clip
        for _, named in sorted(groups.items())
        for clip in _spread([named[name] for name in sorted(named)], per_group)
    ]
    if not clips:
        which = " held-out" if patterns is not None else ""
        raise UsageError(f"no{which} audio files in {', '.join(map(str, [*files, *folders]))}")
    return clips


def _matches(title: str, below: Path, patterns: Sequence[str]) -> bool:
    names = (below.as_posix(), f"{title}/{below.as_posix()}")
    return any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns)


def _spread(clips: list[Clip], at_most: int | None) -> list[Clip]:
    if at_most is None or len(clips) <= at_most:
        return clips
    return [clips[number * len(clips) // at_most] for number in range(at_most)]


def total_seconds(clips: Sequence[Clip], excerpt: Excerpt) -> float:
    """Return how much of all clips will be coded, as far as their headers tell."""
    total = 0.0
    for clip in clips:
        with contextlib.suppress(NcodecError), AudioSource(clip.path) as source:
            seconds = (source.n_samples or 0) / source.sample_rate_hz
            total += seconds if excerpt.seconds is None else min(seconds, excerpt.seconds)
    return total


def has_stereo(clips: Sequence[Clip], excerpt: Excerpt) -> bool:
    """Tell whether any clip will be coded in stereo."""
    for clip in () if excerpt.mono else clips:
        with contextlib.suppress(NcodecError), AudioSource(clip.path) as source:
            if source.n_channels == 2:
                return True
    return False


def load_clip(clip: Clip, excerpt: Excerpt) -> tuple[Audio, int]:
    """Return the excerpt of a clip [C, T], and its sample rate. Raises AudioError."""
    with AudioSource(clip.path) as source:
        rate = source.sample_rate_hz
        blocks = list(source.blocks(1 << 16))
        wav = np.concatenate(blocks or [np.zeros((source.n_channels, 0), np.float32)], axis=1)
    if excerpt.seconds is not None:
        n = min(wav.shape[1], round(excerpt.seconds * rate))
        start = (wav.shape[1] - n) // 2
        wav = wav[:, start : start + n]
    if excerpt.mono:
        wav = wav.mean(0, keepdims=True)
    wanted = excerpt.sample_rate_hz or rate
    return np.ascontiguousarray(resample(wav, rate, wanted), np.float32), wanted
