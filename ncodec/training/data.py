"""Training audio: folders of files, packed once into one array, then random crops of it.

Shapes: B batch, T samples.
"""

import fnmatch
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ncodec.errors import AudioError, UsageError
from ncodec.models.spectral import LEVEL

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".w64", ".caf"})
CHUNK_SECONDS = 10.0  # that the level is taken over
SILENCE = 1e-5  # RMS below which a crop is left at its level


@dataclass(frozen=True, slots=True)
class Clip:
    """One file of a packed corpus."""

    path: str  # relative to the folder it was found in
    start: int
    n_samples: int


Group = tuple[list[Clip], np.ndarray]  # clips that a pattern matches, the odds of each


def is_validation(path: str, patterns: Sequence[str]) -> bool:
    """Tell whether a file is held out of training."""
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def audio_files(places: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Return all audio files below folders, each with the folder it was found in."""
    places = list(places)
    found: list[tuple[Path, Path]] = []
    for place in places:
        if place.is_file():
            found.append((place.parent, place))
        elif not place.is_dir():
            raise UsageError(f"{place}: no such file or folder")
        else:
            paths = sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES)
            found += [(place, path) for path in paths]
    if not found:
        raise UsageError(f"no audio files below {', '.join(map(str, places))}")
    return found


def pack(folders: Sequence[Path], sample_rate_hz: int, destination: Path) -> None:
    """Decode, downmix and resample all audio below `folders` into `destination`.npy and .json.

    The array is int16, the index a list of [path, start, n_samples]. Raises UsageError where there
    is no audio. Files that cannot be read are skipped, and named on stderr by the progress bar.
    """
    import soundfile
    import soxr

    pieces: list[np.ndarray] = []
    index: list[tuple[str, int, int]] = []
    start = 0
    for folder, path in tqdm(audio_files(folders), desc="packing", disable=None):
        try:
            wav, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            tqdm.write(f"{path}: skipped: {error}", file=sys.stderr)
            continue
        mono = wav.mean(1)
        if rate != sample_rate_hz:
            mono = soxr.resample(mono, rate, sample_rate_hz, quality="VHQ")
        pieces.append((np.clip(mono, -1, 1) * 32767).round().astype(np.int16))
        index.append((path.relative_to(folder).as_posix(), start, len(mono)))
        start += len(mono)
    destination.parent.mkdir(parents=True, exist_ok=True)
    np.save(destination.with_suffix(".npy"), np.concatenate(pieces))
    destination.with_suffix(".json").write_text(json.dumps(index))


class PackedCorpus:
    """A packed corpus, mapped from disk, split into training and validation clips."""

    def __init__(self, packed: Path, validation: Sequence[str]) -> None:
        self.samples = np.load(packed.with_suffix(".npy"), mmap_mode="r")
        index = [Clip(*row) for row in json.loads(packed.with_suffix(".json").read_text())]
        self.validation = [clip for clip in index if is_validation(clip.path, validation)]
        self.training = [clip for clip in index if not is_validation(clip.path, validation)]
        if not self.training:
            raise AudioError(f"{packed}: no clip is left to train on")

    def read(self, clip: Clip) -> Tensor:
        """Return a whole clip [T] as float32."""
        ints = self.samples[clip.start : clip.start + clip.n_samples]
        return torch.from_numpy(ints.astype(np.float32) / 32768)


@dataclass(frozen=True, slots=True)
class Crops:
    """How random training crops are drawn."""

    corpus: PackedCorpus
    weights: Sequence[tuple[str, float]]  # (path pattern, share of the crops)
    n_samples: int
    sample_rate_hz: int
    gain_db: tuple[float, float]  # range that the level varies by
    mix: float = 0.1  # share of crops with another crop mixed in below it

    def _groups(self) -> list[Group]:
        groups = []
        for pattern, _ in self.weights:
            clips = [c for c in self.corpus.training if fnmatch.fnmatch(c.path, pattern)]
            if not clips:
                raise UsageError(f"data weight {pattern!r}: no training clip matches")
            lengths = np.array([c.n_samples for c in clips], dtype=np.float64)
            groups.append((clips, lengths / lengths.sum()))
        return groups

    def batches(
        self, batch_size: int, seed: int, first: int = 0, worker: int = 0
    ) -> Iterator[Tensor]:
        """Yield [B, T] float32 batches for ever, from number `first` on.

        A batch depends on the seed, its number and the worker alone, so a run can be taken up
        anywhere.
        """
        groups = self._groups()
        shares = np.array([share for _, share in self.weights])
        shares = shares / shares.sum()
        for number in itertools.count(first):
            rng = np.random.default_rng((seed, number, worker))
            crops = [self._crop(rng, groups, shares) for _ in range(batch_size)]
            yield torch.from_numpy(np.stack(crops))

    def _raw(self, rng: np.random.Generator, groups: list[Group], shares: np.ndarray) -> np.ndarray:
        """Return a crop at the level that coding the chunk around it would give it."""
        clips, odds = groups[rng.choice(len(groups), p=shares)]
        clip = clips[rng.choice(len(clips), p=odds)]
        n_chunk = min(clip.n_samples, round(CHUNK_SECONDS * self.sample_rate_hz))
        chunk_at = clip.start + int(rng.integers(0, clip.n_samples - n_chunk + 1))
        chunk = self.corpus.samples[chunk_at : chunk_at + n_chunk].astype(np.float32) / 32768
        first = int(rng.integers(0, max(1, n_chunk - self.n_samples + 1)))
        crop = chunk[first : first + self.n_samples]
        rms = float(np.sqrt(np.mean(np.square(chunk))))
        gain = LEVEL / rms if rms > SILENCE else 1.0
        return np.pad(crop * np.float32(gain), (0, self.n_samples - len(crop)))

    def _crop(
        self, rng: np.random.Generator, groups: list[Group], shares: np.ndarray
    ) -> np.ndarray:
        crop = self._raw(rng, groups, shares)
        if rng.random() < self.mix:
            below_db = rng.uniform(0, 15)
            crop = crop + self._raw(rng, groups, shares) * np.float32(10 ** (-below_db / 20))
        gain = 10 ** (rng.uniform(*self.gain_db) / 20) * rng.choice([-1, 1])
        return crop * np.float32(gain)
