"""Encoding what is heard now: nothing is kept back, and an interrupt is where it ends."""

import signal
from typing import TYPE_CHECKING, BinaryIO

from ncodec.cli.progress import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ncodec.audio import AudioSource, Metadata
    from ncodec.audio.base import Audio
    from ncodec.encoding.encoder import Encoded
    from ncodec.encoding.options import ResolvedOptions


class _Flushed:
    """A stream that keeps nothing back."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, content: bytes | memoryview, /) -> int:
        """Write, and let it go."""
        n_bytes = self._stream.write(content)
        self._stream.flush()
        return n_bytes


class _Interruptible:
    """A source that ends at an interrupt, also one that comes while it is not being read."""

    n_samples = None

    def __init__(self, source: "AudioSource") -> None:
        self._source = source
        self.name = source.name
        self.sample_rate_hz, self.n_channels = source.sample_rate_hz, source.n_channels
        self._is_reading = self._is_interrupted = False

    @property
    def metadata(self) -> "Metadata":
        """Of what was read so far."""
        return self._source.metadata

    @property
    def has_metadata(self) -> bool:
        """Whether that is all."""
        return self._source.has_metadata

    def blocks(self, n: int) -> "Iterator[Audio]":
        """See AudioSource.blocks."""
        blocks = self._source.blocks(n)
        before = signal.signal(signal.SIGINT, self._interrupt)
        try:
            while not self._is_interrupted:
                self._is_reading = True
                block = next(blocks, None)
                self._is_reading = False
                if block is None:
                    break
                yield block
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGINT, before)

    def _interrupt(self, number: int, frame: object) -> None:
        self._is_interrupted = True
        if self._is_reading:
            raise KeyboardInterrupt


def encode_live(
    source: "AudioSource", sink: BinaryIO, options: "ResolvedOptions", *,
    latency_s: float | None, quiet: bool, on_progress: "Callable[[int], None]",
) -> "Encoded":  # fmt: skip
    """Encode what comes until it ends or is interrupted."""
    from ncodec.codec import encode_audio
    from ncodec.encoding.live import plan_live
    from ncodec.hub.codecs import load_codec

    codec = load_codec(options.model)
    live = plan_live(codec, source.sample_rate_hz, latency_s)
    packet_ms = 1000 * live.packet_frames / codec.config.frame_rate_hz
    say(f"live: packets of {packet_ms:.0f} ms, latency {1000 * live.latency_s:.0f} ms", quiet=quiet)
    return encode_audio(
        _Interruptible(source), _Flushed(sink), options, live=live, on_progress=on_progress
    )
