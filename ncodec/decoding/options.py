"""What a decoding is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """How audio is to be decoded.

    codec_rate  keep the codec's sample rate, instead of going back to the source's
    start, end  seconds, [start, end): of a file with an index the rest is not read. What comes out
                differs from the same segment of the whole by less than 1e-4, or what docs/MODELS.md
                says of a codec with an LSTM. None: to the end
    rate_hz     another sample rate for what comes out
    n_threads   that decode long files side by side; the audio is the same for any number. With
                one, audio comes as soon as it is known. None: as many as there are
    """

    codec_rate: bool = False
    start: float = 0
    end: float | None = None
    n_threads: int | None = 1
    rate_hz: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all of a file is wanted."""
        return self.start == 0 and self.end is None
