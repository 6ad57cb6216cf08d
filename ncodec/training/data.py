"""Training audio: folders of files, packed once into one array, then random crops of it.

Shapes: B batch, C channels, T samples. Audio of one channel has no axis of channels.
"""

import fnmatch
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor
from tqdm import tqdm

from ncodec.errors import AudioError, UsageError
from ncodec.formats.audio_files import readable
from ncodec.training.config import DataConfig

CHUNK_SECONDS = 10.0  # that the level is taken over
SILENCE = 1e-5  # RMS below which a crop is left at its level


@dataclass(frozen=True, slots=True)
class PackedClip:
    """One file of a packed corpus."""

    path: str  # relative to the folder it was found in
    start: int
    n_samples: int


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
            paths = sorted(p for p in place.rglob("*") if p.suffix.lower() in readable())
            found += [(place, path) for path in paths]
    if not found:
        raise UsageError(f"no audio files below {', '.join(map(str, places))}")
    return found


def pack(
    folders: Sequence[Path], sample_rate_hz: int, destination: Path, *, n_channels: int = 1,
    least_rate_hz: int = 0,
) -> None:  # fmt: skip
    """Decode and resample all audio below `folders` into `destination`.npy and .json.

    The array is int16, [T] of the mean of all channels, or [T, 2] for stereo, where what is not
    stereo has its mean in both. The index is a list of [path, start, n_samples]. Raises UsageError
    where there is no audio. Files of less than `least_rate_hz` are left out. Files that cannot be
    read are skipped, and named on stderr by the progress bar.
    """
    import soundfile

    pieces: list[np.ndarray] = []
    index: list[tuple[str, int, int]] = []
    start = 0
    for folder, path in tqdm(audio_files(folders), desc="packing", disable=None):
        try:
            wav, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            tqdm.write(f"{path}: skipped: {error}", file=sys.stderr)
            continue
        if rate < least_rate_hz:
            continue
        if wav.shape[1] != n_channels:
            wav = wav.mean(1, keepdims=True).repeat(n_channels, 1)
        if n_channels == 1:
            wav = wav[:, 0]
        if rate != sample_rate_hz:
            wav = soxr.resample(wav, rate, sample_rate_hz, quality="VHQ")
        pieces.append((np.clip(wav, -1, 1) * 32767).round().astype(np.int16))
        index.append((path.relative_to(folder).as_posix(), start, len(wav)))
        start += len(wav)
    if not pieces:
        raise UsageError(f"{', '.join(map(str, folders))}: no audio of {least_rate_hz} Hz or more")
    destination.parent.mkdir(parents=True, exist_ok=True)
    np.save(destination.with_suffix(".npy"), np.concatenate(pieces))
    destination.with_suffix(".json").write_text(json.dumps(index))


class PackedCorpus:
    """A packed corpus, mapped from disk, split into training and validation clips."""

    def __init__(self, packed: Path, validation: Sequence[str]) -> None:
        self.samples = np.load(packed.with_suffix(".npy"), mmap_mode="r")
        index = [PackedClip(*row) for row in json.loads(packed.with_suffix(".json").read_text())]
        self.validation = [clip for clip in index if is_validation(clip.path, validation)]
        self.training = [clip for clip in index if not is_validation(clip.path, validation)]
        if not self.training:
            raise AudioError(f"{packed}: no clip is left to train on")

    @property
    def n_channels(self) -> int:
        """Channels of every clip."""
        return 1 if self.samples.ndim == 1 else self.samples.shape[1]

    def read(self, clip: PackedClip) -> Tensor:
        """Return a whole clip [T] or [C, T] as float32."""
        ints = self.samples[clip.start : clip.start + clip.n_samples]
        return torch.from_numpy(ints.T.astype(np.float32) / 32768)


class ClipPool:
    """Clips to draw from: a share for every pattern, and in it longer clips more often."""

    def __init__(self, clips: Sequence[PackedClip], weights: Sequence[tuple[str, float]]) -> None:
        self.groups: list[tuple[list[PackedClip], np.ndarray]] = []  # clips, the odds of each
        for pattern, _ in weights:
            found = [clip for clip in clips if fnmatch.fnmatch(clip.path, pattern)]
            if not found:
                raise UsageError(f"data pattern {pattern!r}: no training clip matches")
            lengths = np.array([clip.n_samples for clip in found], dtype=np.float64)
            self.groups.append((found, lengths / lengths.sum()))
        shares = np.array([share for _, share in weights])
        self.shares = shares / shares.sum()

    def draw(self, rng: np.random.Generator) -> PackedClip:
        """Return a clip."""
        clips, odds = self.groups[rng.choice(len(self.groups), p=self.shares)]
        return clips[rng.choice(len(clips), p=odds)]


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples of one step."""

    wav: Tensor  # [B, T] or [B, C, T] float32, what the codec hears
    target: Tensor  # the same shape, what it is to give back
    denoise: Tensor | None  # [B] bool, whether that is without the noise; None where there is none

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        denoise = None if self.denoise is None else self.denoise.to(device)
        return Batch(self.wav.to(device), self.target.to(device), denoise)


def at_level(crop: np.ndarray, rms: float, level: float) -> np.ndarray:
    """Scale a crop out of audio of this RMS to another; silence is left as it is."""
    return crop * np.float32(level / rms if rms > SILENCE else 1.0)


def repanned(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change width and balance of a crop [T, 2], and now and then which side is which.

    The width goes from mono to half as wide again; the balance up to 4 dB to either side.
    """
    left, right = crop.T
    mid, side = (left + right) / 2, (left - right) / 2 * np.float32(rng.uniform(0, 1.5))
    balance = np.float32(10 ** (rng.uniform(-4, 4) / 40))
    sides = [(mid + side) * balance, (mid - side) / balance]
    return np.stack(sides if rng.random() < 0.5 else sides[::-1], 1)


@dataclass(frozen=True, slots=True)
class Crops:
    """How random training crops are drawn."""

    corpus: PackedCorpus
    settings: DataConfig
    sample_rate_hz: int
    level: float | None  # that the codec brings a chunk to; None: crops keep their own

    @property
    def n_samples(self) -> int:
        """Length of a crop."""
        return round(self.settings.seconds * self.sample_rate_hz)

    def batches(
        self, batch_size: int, seed: int, first: int = 0, worker: int = 0
    ) -> Iterator[Batch]:
        """Yield batches for ever, from number `first` on.

        A batch depends on the seed, its number and the worker alone, so a run can be taken up
        anywhere.
        """
        clips, noise = self.corpus.training, self.settings.noise
        pool = ClipPool(clips, self.settings.weights)
        noises = ClipPool(clips, noise) if noise else None
        for number in itertools.count(first):
            rng = np.random.default_rng((seed, number, worker))
            examples = [self._example(rng, pool, noises) for _ in range(batch_size)]
            heard, target, denoise = zip(*examples, strict=True)
            yield Batch(
                torch.from_numpy(np.stack([crop.T for crop in heard])),
                torch.from_numpy(np.stack([crop.T for crop in target])),
                torch.tensor(denoise) if noises else None,
            )

    def _raw(self, rng: np.random.Generator, pool: ClipPool) -> tuple[np.ndarray, float]:
        """Return a crop as it is in the corpus, and the RMS of the chunk around it."""
        clip = pool.draw(rng)
        n_chunk = min(clip.n_samples, round(CHUNK_SECONDS * self.sample_rate_hz))
        chunk_at = clip.start + int(rng.integers(0, clip.n_samples - n_chunk + 1))
        chunk = self.corpus.samples[chunk_at : chunk_at + n_chunk].astype(np.float32) / 32768
        n_read, speed = self.n_samples, self.settings.speed
        if speed:  # with the pitch: other voices, and instruments of another size
            n_read = round(n_read * float(rng.uniform(1 - speed, 1 + speed)))
        first = int(rng.integers(0, max(1, n_chunk - n_read + 1)))
        crop = chunk[first : first + n_read]
        if speed:
            crop = soxr.resample(crop, n_read, self.n_samples, quality="MQ")[: self.n_samples]
        rms = float(np.sqrt(np.mean(np.square(chunk))))
        if crop.ndim == 2 and rng.random() < self.settings.repanned:
            crop = repanned(crop, rng)
        missing = [(0, self.n_samples - len(crop)), *[(0, 0)] * (crop.ndim - 1)]
        return np.pad(crop, missing), rms

    def _clean(self, rng: np.random.Generator, pool: ClipPool) -> tuple[np.ndarray, float]:
        """Return a crop, now and then with another mixed in below it, and its level."""
        crop, rms = self._raw(rng, pool)
        level = rms if self.level is None else self.level
        crop = at_level(crop, rms, level)
        if rng.random() < self.settings.mix:
            below_db = rng.uniform(0, 15)
            crop = crop + at_level(*self._raw(rng, pool), level * 10 ** (-below_db / 20))
        return crop, level

    def _example(
        self, rng: np.random.Generator, pool: ClipPool, noises: ClipPool | None
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        """Return what is heard, what is to come out, [T] or [T, C], and whether to denoise."""
        settings, denoise = self.settings, False
        clean, level = self._clean(rng, pool)
        heard = clean
        if noises is not None:
            if rng.random() < settings.noisy:
                below_db = rng.uniform(*settings.noise_db)
                noise = at_level(*self._raw(rng, noises), level * 10 ** (-below_db / 20))
                heard = clean + noise
            denoise = bool(rng.random() < settings.denoise)
        gain = np.float32(10 ** (rng.uniform(*settings.gain_db) / 20) * rng.choice([-1, 1]))
        return heard * gain, (clean if denoise else heard) * gain, denoise
