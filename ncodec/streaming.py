"""Streams, pushed piece by piece: samples in, bytes of a .ncx stream out, and back.

Shapes: C channels, T samples.
"""

import io
import threading
import weakref
from collections import deque
from typing import Self, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ncodec.audio import as_audio, as_rate
from ncodec.decoding import Decoding
from ncodec.encoding.encoder import Encoding
from ncodec.encoding.fitting import TagsGiven, as_metadata
from ncodec.encoding.live import plan_live
from ncodec.encoding.options import EncodeKeywords, EncodeOptions
from ncodec.encoding.packets import LivePacketWriter
from ncodec.errors import AudioError
from ncodec.formats.ncx import Header, Reader, Writer
from ncodec.hub.codecs import load_codec

Audio = NDArray[np.float32]


class StreamEncoder:
    """Samples to the bytes of a live .ncx stream.

    >>> encoder = StreamEncoder(48000, latency_s=0.2)
    >>> for block in microphone:
    ...     socket.send(encoder.push(block))
    >>> socket.send(encoder.finish())

    latency_s  at most, from a sample to the one that stands for it in what is decoded, without the
               time for computing and transport; by default 0.3 s, or more if the codec needs more
    entropy    "adaptive" by default; "transformer" takes fewer bits, and most of a slow core to
               decode in real time
    tags       as for `encode`
    options    others as for `encode`

    Raises UsageError, ModelMissing.

    Attributes:
        latency_s: what it is.
        header: that the stream starts with.
    """

    def __init__(
        self, sample_rate_hz: int, n_channels: int = 1, *, latency_s: float | None = None,
        tags: TagsGiven | None = None, **options: Unpack[EncodeKeywords],
    ) -> None:  # fmt: skip
        sample_rate_hz = as_rate(sample_rate_hz)
        resolved = EncodeOptions(**options).resolve(live=True)
        live = plan_live(load_codec(resolved.model), sample_rate_hz, latency_s)
        self._encoding = Encoding(
            "stream", sample_rate_hz, n_channels, resolved, piece_samples=live.piece_samples
        )
        self.latency_s = live.latency_s
        self._n_channels = n_channels
        self.header = self._encoding.header(None, as_metadata(tags))
        self._made = io.BytesIO()
        self._packets = LivePacketWriter(Writer(self._made, self.header))

    def push(self, wav: ArrayLike) -> bytes:
        """Return the bytes that become known with [C, T] or [T] float samples.

        Raises AudioError for other shapes and for values that are not finite.
        """
        block = as_audio(wav)
        if len(block) != self._n_channels:
            raise AudioError(f"array: {len(block)} channels, expected {self._n_channels}")
        for chunk in self._encoding.push(block):
            self._packets.write(chunk)
        return self._take()

    def finish(self) -> bytes:
        """Return the end of the stream."""
        for chunk in self._encoding.finish():
            self._packets.write(chunk)
        self._packets.finish(self._encoding.n_samples)
        return self._take()

    def _take(self) -> bytes:
        made = self._made.getvalue()
        self._made.seek(0)
        self._made.truncate()
        return made


class _Feed:
    """What was pushed, as a stream that another thread reads and waits for."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.is_starving = False
        self.is_done = False  # nobody reads any more
        self.header: Header | None = None
        self.made: deque[Audio] = deque()
        self.error: BaseException | None = None
        self._bytes = bytearray()
        self._ended = False

    def push(self, content: bytes, *, last: bool = False) -> None:
        """Let the reader have more, and wait until it needs still more."""
        with self.changed:
            self._bytes += content
            self._ended = self._ended or last
            self.is_starving = False
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.is_starving or self.is_done)

    def abandon(self) -> None:
        """Let the reader end."""
        with self.changed:
            self._ended = True
            self._bytes.clear()
            self.changed.notify_all()

    def read1(self, size: int, /) -> bytes:
        """Return up to `size` bytes, b"" after the last."""
        with self.changed:
            while not self._bytes and not self._ended:
                self.is_starving = True
                self.changed.notify_all()
                self.changed.wait()
            given = bytes(self._bytes[:size])
            del self._bytes[:size]
            return given

    read = read1


def _decode(feed: _Feed, name: str) -> None:
    """Decode what is fed, in a thread that knows nothing of who feeds."""
    try:
        decoding = Decoding(Reader(feed, name))
        feed.header = decoding.header
        for block in decoding.blocks():
            feed.made.append(block)
    except BaseException as error:  # handed to the caller
        feed.error = error
    finally:
        with feed.changed:
            feed.is_done = True
            feed.changed.notify_all()


class StreamDecoder:
    """The bytes of a .ncx stream, cut anywhere, to samples.

    >>> decoder = StreamDecoder()
    >>> for some in socket:
    ...     loudspeaker.play(decoder.push(some))
    >>> loudspeaker.play(decoder.finish())

    The audio of a live stream comes as soon as it is known. Packets of a file, whose length is
    known, are decoded several at once, so they are waited for.

    Attributes:
        header: of the stream; None until enough of it has come.
    """

    def __init__(self, name: str = "stream") -> None:
        self._feed = _Feed()
        self._thread = threading.Thread(target=_decode, args=(self._feed, name), daemon=True)
        self._thread.start()
        self._abandon = weakref.finalize(self, self._feed.abandon)

    @property
    def header(self) -> Header | None:
        """What the stream says about itself."""
        return self._feed.header

    def push(self, content: bytes) -> Audio:
        """Return the samples [C, T] that become known; [0, 0] before the header is there.

        Raises FormatError for damage, at which nothing more can be decoded, ModelError.
        """
        self._feed.push(content)
        return self._take()

    def finish(self) -> Audio:
        """Return what is left. Raises as `push` does, Truncated if the end is missing."""
        self._feed.push(b"", last=True)
        self._thread.join()
        return self._take()

    def close(self) -> None:
        """Give up."""
        self._abandon()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _take(self) -> Audio:
        feed = self._feed
        if feed.made:
            made = np.concatenate([*feed.made], axis=1)
            feed.made.clear()
            return made
        if feed.error is not None:
            raise feed.error
        return np.zeros(
            (0 if feed.header is None else feed.header.n_output_channels, 0), np.float32
        )
