"""Changing the sample rate, block by block."""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncodec.audio.base import Audio
from ncodec.errors import UsageError


def resampled_length(n_samples: int, source_rate_hz: int, target_rate_hz: int) -> int:
    """Return round(n_samples * target / source), halves up."""
    return (2 * n_samples * target_rate_hz + source_rate_hz) // (2 * source_rate_hz)


class Resampler:
    """Changes the sample rate of a stream; what comes out does not depend on the block sizes.

    After the last push `resampled_length(n_in, ...)` samples have come out, exactly. The filter
    has linear phase and its delay is taken off, so the first sample out stands at the time of the
    first in. Equal rates pass the blocks on as they are.
    """

    def __init__(self, source_rate_hz: int, target_rate_hz: int, n_channels: int) -> None:
        if min(source_rate_hz, target_rate_hz, n_channels) < 1:
            raise UsageError(
                f"cannot resample {n_channels} channels from {source_rate_hz} to "
                f"{target_rate_hz} Hz"
            )
        self.source_rate_hz = source_rate_hz
        self.target_rate_hz = target_rate_hz
        self.n_channels = n_channels
        self.n_in = 0
        self.n_out = 0
        self._stream = None
        if source_rate_hz != target_rate_hz:
            import soxr

            # The lowest terms, so that all equal ratios give equal samples.
            ratio = Fraction(source_rate_hz, target_rate_hz)
            self._stream = soxr.ResampleStream(
                ratio.numerator, ratio.denominator, n_channels, dtype="float32", quality="VHQ"
            )
        self._ended = False

    def push(self, block: NDArray[np.floating[Any]], last: bool = False) -> Audio:
        """Take [C, T] and return [C, T'], which may be empty; after `last`, nothing more."""
        if self._ended:
            raise ValueError("push after the last block")
        if block.ndim != 2 or block.shape[0] != self.n_channels:
            raise ValueError(f"a block of shape {block.shape} for {self.n_channels} channels")
        self._ended = last
        self.n_in += block.shape[1]
        block = block.astype(np.float32, copy=False)
        if self._stream is None:
            return block
        out = self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last).T
        if last:
            n_left = resampled_length(self.n_in, self.source_rate_hz, self.target_rate_hz)
            out = _fit(out, n_left - self.n_out)
        self.n_out += out.shape[1]
        return np.ascontiguousarray(out)


def _fit(wav: Audio, n: int) -> Audio:
    """Cut or lengthen with silence to `n` samples."""
    return np.pad(wav[:, :n], ((0, 0), (0, max(0, n - wav.shape[1]))))


def resample(
    wav: NDArray[np.floating[Any]],
    source_rate_hz: int,
    target_rate_hz: int,
    n_out: int | None = None,
) -> Audio:
    """Return [C, T] at another sample rate, cut or lengthened with silence to `n_out` samples."""
    out = Resampler(source_rate_hz, target_rate_hz, wav.shape[0]).push(wav, last=True)
    return out if n_out is None else _fit(out, n_out)
