"""Training codes for entropy models: audio through a codec once, then random crops of the codes.

Shapes: B batch, Q codebooks, F frames.
"""

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ncodec.audio import AudioSource, Resampler
from ncodec.errors import AudioError, NcodecError, UsageError
from ncodec.models.base import Codec
from ncodec.native.threads import in_order
from ncodec.training.data import audio_files, is_validation

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


@dataclass(frozen=True, slots=True)
class CodesSource:
    """What a corpus of codes was made of."""

    codec_sha256: str
    data: tuple[str, ...]  # folders and files of audio
    validation: tuple[str, ...]  # path patterns never trained on


def code_file(codec: Codec, path: Path, speed: float) -> NDArray[np.uint16]:
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
    wav = resampler.push(whole, last=True)[None]
    state, parts = codec.start_encoder(1), list[NDArray[np.uint16]]()
    for end in range(n_piece, max(wav.shape[2], 1) + n_piece, n_piece):
        piece, last = wav[:, :, end - n_piece : end], end >= wav.shape[2]
        chunk = codec.encode_arrays(piece, state, config.n_codebooks, last=last)
        parts.append(chunk.codes[0].astype(np.uint16))
    return np.concatenate(parts, axis=1)


def pack_codes(codec: Codec, source: CodesSource, destination: Path) -> None:
    """Code all audio of `source` into `destination`.npy, [Q, F] uint16, and .json, the index.

    Files held out for validation are coded at their own speed alone. Files that cannot be read are
    skipped, and named on stderr. On `n_threads` threads.
    """

    def coded(path: Path, speeds: Sequence[float]) -> list[NDArray[np.uint16]]:
        try:
            return [code_file(codec, path, speed) for speed in speeds]
        except (NcodecError, OSError) as error:
            tqdm.write(f"{path}: skipped: {error}", file=sys.stderr)
            return []

    files = [(path.relative_to(folder).as_posix(), path)
             for folder, path in audio_files(map(Path, source.data))]  # fmt: skip
    speeds = [SPEEDS[:1] if is_validation(name, source.validation) else SPEEDS for name, _ in files]
    found = in_order(
        partial(coded, path, some) for (_, path), some in zip(files, speeds, strict=True)
    )
    found = tqdm(found, total=len(files), desc="coding", unit="file", disable=None)
    codes: list[NDArray[np.uint16]] = []
    index: list[tuple[str, float, int, int]] = []
    start = 0
    for (name, _), some, parts in zip(files, speeds, found, strict=True):
        for speed, part in zip(some, parts, strict=False):
            codes.append(part)
            index.append((name, speed, start, part.shape[1]))
            start += part.shape[1]
    if not codes:
        raise UsageError("none of the audio files could be read")
    destination.parent.mkdir(parents=True, exist_ok=True)
    np.save(destination.with_suffix(".npy"), np.concatenate(codes, axis=1))
    destination.with_suffix(".json").write_text(json.dumps({**asdict(source), "clips": index}))


class CodesCorpus:
    """A packed corpus of codes, mapped from disk, split into training and validation clips."""

    def __init__(self, packed: Path, source: CodesSource) -> None:
        """Open a corpus. Raises UsageError if it is not one of `source`."""
        self.codes = np.load(packed.with_suffix(".npy"), mmap_mode="r")
        index = json.loads(packed.with_suffix(".json").read_text())
        clips = [CodedClip(*row) for row in index.pop("clips")]
        for name, value in asdict(source).items():
            if index[name] != list(value) and index[name] != value:
                raise UsageError(f"{packed}.json: {name} was {index[name]}, now it is {value}")
        held_out = source.validation
        self.training = [clip for clip in clips if not is_validation(clip.path, held_out)]
        self.validation = [clip for clip in clips if is_validation(clip.path, held_out)]
        if not self.training:
            raise AudioError(f"{packed}: no clip is left to train on")

    def read(self, clip: CodedClip) -> Tensor:
        """Return the codes [Q, F] of a whole clip."""
        part = self.codes[:, clip.start : clip.start + clip.n_frames]
        return torch.from_numpy(part.astype(np.int64))

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
            yield torch.from_numpy(np.stack(crops).astype(np.int64))
