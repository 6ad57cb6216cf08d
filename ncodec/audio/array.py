"""What can be encoded: a file, a pipe, an array."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ncodec.audio.base import Audio


class Source(Protocol):
    """What is encoded: AudioSource, or an array."""

    name: str
    sample_rate_hz: int
    tags: dict[str, str]

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
    tags: dict[str, str]
    name: str = "array"

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
