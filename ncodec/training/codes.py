"""Training codes for entropy models: audio through a codec once, then random crops of the codes.

Shapes: B batch, Q codebooks, F frames.
"""

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ncodec.audio import AudioSource, Resampler
from ncodec.errors import AudioError, NcodecError, UsageError
from ncodec.models.base import Codec
from ncodec.training.data import SUFFIXES, is_validation

PIECE_SECONDS = 10.0  # coded at once, as a packet of a file is
SPEEDS = (1.0, 0.94, 1.065, 0.88, 1.13)
"""Playing speeds that the audio is coded at. A model that has heard the same recordings at several
pitches, and cut into other frames, learns what they have in common and not what they are."""


@dataclass(frozen=True, slots=True)
class CodedClip:
    """One file of a corpus of codes, at one speed."""

    path: str  # relative to the folder it was found in
    speed: float
    start: int
    n_frames: int


def audio_files(folders: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Return all audio files below `folders`, each with the folder it was found in."""
    found: list[tuple[Path, Path]] = []
    for place in folders:
        if place.is_file():
            found.append((place.parent, place))
        elif not place.is_dir():
            raise UsageError(f"{place}: no such file or folder")
        else:
            paths = sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES)
            found += [(place, path) for path in paths]
    if not found:
        raise UsageError(f"no audio files below {', '.join(map(str, folders))}")
    return found


def code_file(codec: Codec, path: Path, speed: float) -> NDArray[np.int16]:
    """Return the codes [Q, F] of a file, mixed to the codec's channels, played at a speed.

    Other speeds start somewhat later, so that their frames lie elsewhere.
    """
    config = codec.config
    n_piece = round(PIECE_SECONDS * config.frame_rate_hz) * config.samples_per_frame
    with AudioSource(path) as source:
        rate = source.sample_rate_hz
        mixed = [
            block.reshape(config.n_channels, -1, block.shape[1]).mean(1)
            if source.n_channels % config.n_channels == 0
            else np.repeat(block.mean(0, keepdims=True), config.n_channels, axis=0)
            for block in source.blocks(10 * rate)
        ]
    skipped = round((speed - 1.0) * 1e4) % config.samples_per_frame
    whole = np.concatenate(mixed, axis=1)[:, skipped:]
    resampler = Resampler(round(rate * speed), config.sample_rate_hz, config.n_channels)
    wav = torch.from_numpy(resampler.push(whole, last=True))[None]
    state, parts = codec.start_encoder(1), []
    pieces = wav.split(n_piece, dim=-1)
    with torch.inference_mode():
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            chunk = codec.encode_chunk(piece, state, config.n_codebooks, last=last)
            parts.append(chunk.codes[0].numpy().astype(np.uint16).view(np.int16))
    return np.concatenate(parts, axis=1)


def pack_codes(
    codec: Codec, folders: Sequence[Path], validation: Sequence[str], destination: Path
) -> None:
    """Code all audio below `folders` into `destination`.npy, [Q, F] int16, and .json, the index.

    Files held out for validation are coded at their own speed alone. Files that cannot be read are
    skipped, and named on stderr.
    """
    codes: list[NDArray[np.int16]] = []
    index: list[tuple[str, float, int, int]] = []
    start = 0
    for folder, path in tqdm(audio_files(folders), desc="coding", disable=None):
        name = path.relative_to(folder).as_posix()
        for speed in SPEEDS[:1] if is_validation(name, validation) else SPEEDS:
            try:
                coded = code_file(codec, path, speed)
            except (NcodecError, OSError) as error:
                tqdm.write(f"{path}: skipped: {error}", file=sys.stderr)
                break
            codes.append(coded)
            index.append((name, speed, start, coded.shape[1]))
            start += coded.shape[1]
    if not codes:
        raise UsageError("none of the audio files could be read")
    destination.parent.mkdir(parents=True, exist_ok=True)
    np.save(destination.with_suffix(".npy"), np.concatenate(codes, axis=1))
    destination.with_suffix(".json").write_text(json.dumps(index))


class CodesCorpus:
    """A packed corpus of codes, mapped from disk, split into training and validation clips."""

    def __init__(self, packed: Path, validation: Sequence[str]) -> None:
        self.codes = np.load(packed.with_suffix(".npy"), mmap_mode="r")
        clips = [CodedClip(*row) for row in json.loads(packed.with_suffix(".json").read_text())]
        self.training = [clip for clip in clips if not is_validation(clip.path, validation)]
        self.validation = [
            clip for clip in clips if is_validation(clip.path, validation) and clip.speed == 1.0
        ]
        if not self.training:
            raise AudioError(f"{packed}: no clip is left to train on")

    def read(self, clip: CodedClip) -> Tensor:
        """Return the codes [Q, F] of a whole clip."""
        part = self.codes[:, clip.start : clip.start + clip.n_frames]
        return torch.from_numpy(part.view(np.uint16).astype(np.int64))

    def batches(
        self, batch_size: int, n_frames: int, seed: int, first: int = 0
    ) -> Iterator[Tensor]:
        """Yield random crops [B, Q, F] for ever, from batch number `first` on.

        A crop never crosses the end of a clip; from a shorter clip it goes round. A batch depends
        on the seed and its number alone, so a run can be taken up anywhere.
        """
        lengths = np.array([clip.n_frames for clip in self.training], np.float64)
        odds = lengths / lengths.sum()
        for number in itertools.count(first):
            rng = np.random.default_rng((seed, number))
            crops = []
            for chosen in rng.choice(len(self.training), size=batch_size, p=odds):
                clip = self.training[chosen]
                place = int(rng.integers(0, max(1, clip.n_frames - n_frames + 1)))
                frames = clip.start + (place + np.arange(n_frames)) % clip.n_frames
                crops.append(self.codes[:, frames])
            yield torch.from_numpy(np.stack(crops).view(np.uint16).astype(np.int64))
