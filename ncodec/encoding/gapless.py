"""Tracks that follow each other without a gap, each as a .ncx file of its own.

A track that is coded by itself starts from silence and ends in it, so two of them meet in a step.
Here the tracks of a chain are coded as one stream, and each file is cut out of that, with the
frames around it that a decoder needs (NCX.md, section 3): one after the other they decode to what
the whole stream does.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import BinaryIO, NoReturn

import numpy as np

from ncodec.audio import AudioSource, Metadata
from ncodec.audio.base import Audio
from ncodec.audio.metadata import NOTHING
from ncodec.bitstream.codes import CodesWriter
from ncodec.bitstream.repack import cut
from ncodec.encoding.encoder import Encoded, Encoding
from ncodec.encoding.options import ResolvedOptions
from ncodec.encoding.whole_file import waiting_file
from ncodec.formats.ncx import Reader, Writer
from ncodec.formats.streams import Writable

END_SECONDS = 0.01  # of an end that sounds or does not
QUIETEST_PEAK = 2.0**-10  # of one that sounds: -60 dB of full scale

TrackOpener = Callable[[], AbstractContextManager[AudioSource]]
TrackProgress = Callable[[int, float], None]


@dataclass(frozen=True, slots=True)
class Track:
    """A track that was coded, or could not be.

    number   of the track, from 0 on
    write    writes its file, before the next track is asked for; raises why it was not coded
    follows  it continues the one before without a gap
    """

    number: int
    write: Callable[[Writable], Encoded]
    follows: bool = False


def encode_gapless(
    tracks: Sequence[TrackOpener], options: ResolvedOptions, *, device: str = "cpu",
    on_progress: TrackProgress = lambda number, seconds: None,
) -> Generator[Track, None, None]:  # fmt: skip
    """Encode tracks; yield each as soon as its file can be written, in their order.

    Two neighbours are joined where both sound to their ends and have one rate and number of
    channels. One that cannot be read ends its chain, and the others go on.

    tracks       each opened once, when it is its turn
    on_progress  called with the number of a track and how many seconds of it were just read
    """
    with ExitStack() as stack:
        playlist = _Playlist(tracks, on_progress, stack)
        while (opened := playlist.next()) is not None:
            if isinstance(opened, Track):
                yield opened
                continue
            with waiting_file() as coded:
                yield from _coded(_Chain(playlist, opened), coded, options, device)


def _coded(
    source: "_Chain", coded: BinaryIO, options: ResolvedOptions, device: str
) -> Iterator[Track]:
    """Encode a chain into the file `coded`, and yield its tracks."""
    name, rate = source.name, source.sample_rate_hz
    encoding = Encoding(name, rate, source.n_channels, options, device=device)
    failure: Exception | None = None
    try:
        encoding.write(source, CodesWriter(Writer(coded, encoding.header(None))))
    except Exception as error:
        failure = error

    @contextmanager
    def opened() -> Iterator[Reader]:
        coded.seek(0)
        yield Reader(coded, name)

    def write(part: _Part, start: int, sink: Writable) -> Encoded:
        header = encoding.header(part.n_samples, part.metadata)
        writer = cut(opened, sink, header, start, start + part.n_samples)
        return Encoded(
            part.n_samples, rate, source.n_channels, writer.header.n_channels, writer.n_bytes,
            writer.payload_bytes, encoding.left_out,
            sum(len(picture.data) for picture in header.pictures), part.damage, part.remarks,
        )  # fmt: skip

    start = 0
    for part in source.parts:
        if (error := failure or part.error) is not None:
            yield _failed(part.number, error)
        else:
            yield Track(part.number, partial(write, part, start), follows=start > 0)
        start += part.n_samples


def _failed(number: int, error: Exception) -> Track:
    def fail(sink: Writable) -> NoReturn:
        raise error

    return Track(number, fail)


@dataclass(frozen=True, slots=True)
class _Part:
    """What a track gave to its chain."""

    number: int
    metadata: Metadata
    n_samples: int
    damage: tuple[str, ...]
    remarks: tuple[str, ...]
    error: Exception | None  # why there is no more of it


class _Opened:
    """A track that is being read.

    Attributes:
        end: its last samples so far [C, T].
    """

    def __init__(self, number: int, source: AudioSource) -> None:
        self.number, self.source = number, source
        self._n_end = max(1, round(END_SECONDS * source.sample_rate_hz))
        self.end: Audio = np.zeros((source.n_channels, 0), np.float32)
        self._n_samples = 0
        self._blocks: Iterator[Audio] | None = None
        self._error: Exception | None = None

    def blocks(self, n: int) -> Iterator[Audio]:
        """Yield blocks of `n` samples up to its end, or to what cannot be read."""
        blocks = self._blocks or self.source.blocks(n)
        while (block := self._read(blocks)) is not None:
            self.end = np.concatenate([self.end, block], axis=1)[:, -self._n_end :]
            self._n_samples += block.shape[1]
            yield block

    def _read(self, blocks: Iterator[Audio]) -> Audio | None:
        try:
            return next(blocks, None)
        except Exception as error:  # of any kind: the other tracks are not to blame
            self._error = error
            return None

    def may_follow(self, before: "_Opened", n: int) -> bool:
        """Whether nothing is between the two; reads a first block of `n` samples."""
        ours, theirs = self.source, before.source
        if (ours.sample_rate_hz, ours.n_channels) != (theirs.sample_rate_hz, theirs.n_channels):
            return False
        blocks = self.source.blocks(n)
        first = self._read(blocks)
        if first is None:
            self._blocks = iter(())
            return False
        self._blocks = chain((first,), blocks)
        return _sounds(before.end) and _sounds(first[:, : self._n_end])

    def part(self) -> _Part:
        """Return what is known of it after its last block."""
        source = self.source
        return _Part(
            self.number, source.metadata, self._n_samples, tuple(source.damage),
            tuple(source.remarks), self._error,
        )  # fmt: skip


def _sounds(end: Audio) -> bool:
    return bool(np.abs(end).max(initial=0) > QUIETEST_PEAK)


class _Playlist:
    """Tracks, of which one at a time is open."""

    def __init__(
        self, tracks: Sequence[TrackOpener], on_progress: TrackProgress, stack: ExitStack
    ) -> None:
        self._left, self.on_progress = enumerate(tracks), on_progress
        self._open = stack.enter_context(ExitStack())
        self._waiting: _Opened | Track | None = None

    def next(self) -> _Opened | Track | None:
        """Return the next track, or why it cannot be opened; None if there is none left."""
        if (waiting := self._waiting) is not None:
            self._waiting = None
            return waiting
        self._open.close()
        for number, opener in self._left:
            try:
                return _Opened(number, self._open.enter_context(opener()))
            except Exception as error:
                return _failed(number, error)
        return None

    def put_back(self, opened: _Opened | Track | None) -> None:
        """Make what `next` gave the next once more."""
        self._waiting = opened


class _Chain:
    """A source of tracks that follow each other, up to one that does not.

    Attributes:
        parts: those that were read.
    """

    n_samples = None
    metadata = NOTHING
    has_metadata = True

    def __init__(self, playlist: _Playlist, first: _Opened) -> None:
        self._playlist, self._first = playlist, first
        self.name = first.source.name
        self.sample_rate_hz, self.n_channels = first.source.sample_rate_hz, first.source.n_channels
        self.parts: list[_Part] = []

    def blocks(self, n: int) -> Iterator[Audio]:
        """See Source."""
        opened: _Opened | Track | None = self._first
        while isinstance(opened, _Opened):
            for block in opened.blocks(n):
                yield block
                seconds = block.shape[1] / self.sample_rate_hz
                self._playlist.on_progress(opened.number, seconds)
            part = opened.part()
            self.parts.append(part)
            before, opened = opened, self._playlist.next()
            if part.error is None and isinstance(opened, _Opened) and opened.may_follow(before, n):
                continue
            self._playlist.put_back(opened)
            return
