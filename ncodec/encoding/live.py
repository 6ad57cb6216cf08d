"""How a live stream is cut into packets, for a latency."""

from dataclasses import dataclass

import numpy as np

from ncodec.audio import Resampler
from ncodec.errors import UsageError
from ncodec.models.base import Codec

LIVE_BLOCK_SECONDS = 0.01  # that are read at once
LIVE_LATENCY_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Live:
    """How a live stream is cut into packets, and by how much it comes out late.

    The encoder takes `piece_samples` at once, at the codec's rate. `latency_s` is from a sample
    that is read to the sample that stands for it being written, apart from the time that computing
    and transport take.
    """

    packet_frames: int
    piece_samples: int
    latency_s: float


def plan_live(codec: Codec, sample_rate_hz: int, latency_s: float | None = None) -> Live:
    """Return the longest packets, and so the fewest bits for framing, within a latency.

    latency_s  by default LIVE_LATENCY_SECONDS, or more if the codec needs more

    Raises UsageError if the codec cannot be as fast.
    """
    config = codec.config
    frame_s = config.samples_per_frame / config.sample_rate_hz
    # The decoder holds back a frame, which may lie after the end.
    fixed_s = codec.latency_samples / config.sample_rate_hz + frame_s + LIVE_BLOCK_SECONDS
    fixed_s += resampler_delay_s(sample_rate_hz, config.sample_rate_hz)
    fixed_s += resampler_delay_s(config.sample_rate_hz, sample_rate_hz)
    if latency_s is None:
        latency_s = max(LIVE_LATENCY_SECONDS, fixed_s)
    if latency_s < fixed_s:
        raise UsageError(
            f"a latency of {1000 * latency_s:g} ms: it takes {1000 * fixed_s:.0f} ms at least"
        )
    if codec.segment_frames > 1:  # which come when they are there
        return Live(codec.segment_frames, config.samples_per_frame, fixed_s + frame_s)
    n_frames = 1 + int((latency_s - fixed_s) / frame_s + 1e-6)
    latency_s = fixed_s + (n_frames - 1) * frame_s
    return Live(n_frames, n_frames * config.samples_per_frame, latency_s)


def resampler_delay_s(source_rate_hz: int, target_rate_hz: int) -> float:
    """Return the largest delay of a resampled stream, in seconds; it is measured."""
    resampler, delay_s = Resampler(source_rate_hz, target_rate_hz, 1), 0.0
    n_block = max(1, round(LIVE_BLOCK_SECONDS * source_rate_hz))
    block = np.zeros((1, n_block), np.float32)
    n_out = 0
    for number in range(1, 101):
        n_out += resampler.push(block).shape[1]
        if number > 50:  # it starts later than it goes on
            delay_s = max(delay_s, number * n_block / source_rate_hz - n_out / target_rate_hz)
    return delay_s
