"""What can be encoded: a file, a pipe, an array; and a source mixed to one channel."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Protocol

import numpy as np

from ncodec.audio.base import MAX_CHANNELS, Audio
from ncodec.audio.metadata import NOTHING, Metadata
from ncodec.errors import AudioError, UsageError


class Source(Protocol):
    """What is encoded: AudioSource, or an array."""

    name: str
    sample_rate_hz: int

    @property
    def metadata(self) -> Metadata:
        """What is known of it."""
        ...

    @property
    def has_metadata(self) -> bool:
        """Whether that is all; else only reading will tell."""
        ...

    @property
    def n_channels(self) -> int:
        """C."""
        ...

    @property
    def n_samples(self) -> int | None:
        """T, or None if only reading will tell."""
        ...

    def blocks(self, n: int) -> Iterator[Audio]:
        """Yield [C, n] blocks, the last one shorter."""
        ...


@dataclass(slots=True)
class ArraySource:
    """An array [C, T] as a source."""

    wav: Audio
    sample_rate_hz: int
    metadata: Metadata = NOTHING
    name: str = "array"
    has_metadata: bool = True

    @property
    def n_channels(self) -> int:
        """C."""
        return self.wav.shape[0]

    @property
    def n_samples(self) -> int | None:
        """T."""
        return self.wav.shape[1]

    def blocks(self, n: int) -> Iterator[Audio]:
        """Yield [C, n] blocks, the last one shorter."""
        for start in range(0, self.wav.shape[1], n):
            yield self.wav[:, start : start + n]


class MixedSource:
    """A source whose channels are mixed to one."""

    has_metadata = True  # all that will be asked for

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name, self.sample_rate_hz, self.n_channels = source.name, source.sample_rate_hz, 1
        self.metadata = source.metadata

    @property
    def n_samples(self) -> int | None:
        """Per channel; None when only reading will tell."""
        return self._source.n_samples

    def blocks(self, n: int) -> Iterator[Audio]:
        """Yield float32 [1, n] blocks, the last one shorter."""
        for block in self._source.blocks(n):
            yield block.mean(0, keepdims=True)


def as_rate(sample_rate_hz: Any) -> int:
    """Return a sample rate of any integral type. Raises UsageError."""
    is_whole = isinstance(sample_rate_hz, Integral) and not isinstance(sample_rate_hz, bool)
    if not is_whole or sample_rate_hz < 1:
        raise UsageError(f"sample rate {sample_rate_hz!r}: expected a positive whole number of Hz")
    return int(sample_rate_hz)


def as_audio(wav: Any) -> Audio:
    """Return an array or tensor as float32 [C, T]. Raises AudioError."""
    torch = sys.modules.get("torch")  # where it was not imported, nothing is a tensor
    if torch and isinstance(wav, torch.Tensor):
        wav = wav.detach().cpu()
        wav = wav.float().numpy() if wav.is_floating_point() else wav.numpy()
    array = np.asarray(wav)
    if array.dtype.kind != "f":
        raise AudioError(f"array: type {array.dtype}, expected floating point from -1 to 1")
    array = np.atleast_2d(array)
    if array.ndim != 2 or not 1 <= array.shape[0] <= MAX_CHANNELS:
        raise AudioError(
            f"array: shape {array.shape}, expected [channels, samples] with at most {MAX_CHANNELS}"
        )
    if not np.isfinite(array).all():
        raise AudioError("array: holds values that are not finite")
    return array.astype(np.float32)
