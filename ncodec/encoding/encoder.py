"""Audio -> codes, block by block, in packets of some seconds or, live, of some frames; the header.

Shapes: C channels, T samples, S streams, Q codebooks, F frames; see `ncodec.codec`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncodec.audio import Metadata, Resampler, Source
from ncodec.audio.metadata import NOTHING
from ncodec.bitstream.codes import CodedPacket, CodesWriter, code_packet
from ncodec.encoding.fitting import fitting
from ncodec.encoding.options import ResolvedOptions
from ncodec.entropy import EntropyCoder
from ncodec.errors import AudioError, FormatError
from ncodec.formats.ncx import CHANNEL_COPIES, CODEC_PARAMETERS, PICTURE_KIND, Header
from ncodec.hub.codecs import ModelFile, load_codec
from ncodec.models.base import ArrayChunk
from ncodec.models.parameters import pack_parameters
from ncodec.native.threads import in_order

ALL_PIECES = range(2**63 - 1)
PIECE_SECONDS = 10.0  # of audio in one pass of the network, and in one packet of a file
_Task = Callable[[], ArrayChunk]  # what is left to do for a chunk
BLOCK_VALUES = 1 << 22  # most samples, of all channels, that are read at once


@dataclass(frozen=True, slots=True)
class Encoded:
    """What one encoding came to."""

    n_samples: int
    sample_rate_hz: int
    n_channels: int
    n_coded_channels: int  # 1 where all are equal
    n_bytes: int
    payload_bytes: int
    left_out: tuple[str, ...] = ()  # of the source, for which the file has no room
    picture_bytes: int = 0
    damage: tuple[str, ...] = ()  # of a file that was concealed
    remarks: tuple[str, ...] = ()  # on a file that was read

    @property
    def are_equal(self) -> bool:
        """Whether its channels are all the same, so that one was coded."""
        return self.n_coded_channels == 1 < self.n_channels

    @property
    def seconds(self) -> float:
        """Length of the source."""
        return self.n_samples / self.sample_rate_hz


class _Pieces:
    """Blocks [C, any] cut into pieces [C, n].

    The last piece has up to `slack` more: a clip just over one packet stays one packet.
    With -1 every piece is given as soon as it is full.
    """

    def __init__(self, n_channels: int, n: int, slack: int) -> None:
        self.rest = np.zeros((n_channels, 0), np.float32)
        self._n, self._slack = n, slack

    def push(self, block: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Yield the pieces that are full."""
        self.rest = np.concatenate([self.rest, block], axis=1)
        while self.rest.shape[1] > self._n + self._slack:
            piece, self.rest = self.rest[:, : self._n], self.rest[:, self._n :]
            yield piece


class Encoding:
    """Audio on its way to codes. Before the first push, it costs no more than its header.

    name           what errors call the audio
    piece_samples  that are coded at once, at the codec's rate, as soon as they are there; by
                   default those of PIECE_SECONDS
    pieces         numbers of those whose codes are wanted: they are what they are among the codes
                   of all, for a codec that `has_finite_context` and has no segments
    device         that the networks run on

    Attributes:
        codec: that codes it.
        n_streams: of codes.
        n_samples: of the source, per channel, that came so far.
        is_finished: nothing more is to come.
        left_out: what the last `header` had no room for.
    """

    def __init__(
        self, name: str, sample_rate_hz: int, n_channels: int, options: ResolvedOptions, *,
        piece_samples: int | None = None, pieces: range = ALL_PIECES, device: str = "cpu",
    ) -> None:  # fmt: skip
        self._name, self._sample_rate_hz = name, sample_rate_hz
        self._options, self._device = options, device
        self.codec = load_codec(options.model, device)
        config = self.codec.config
        is_one = options.equal_channels and config.n_channels == 1  # which stands for all
        self._n_copies = n_channels if is_one else 1
        self._n_channels = n_channels // self._n_copies
        self.n_streams = count_streams(name, self._n_channels, options.model, config.n_channels)
        self.n_samples = 0
        self.is_finished = False
        self.left_out: tuple[str, ...] = ()
        self._wanted, self._next = pieces, 0  # numbers of pieces
        n = round(PIECE_SECONDS * config.frame_rate_hz) * config.samples_per_frame
        self._pieces = _Pieces(
            self._n_channels, piece_samples or n, -1 if piece_samples else n // 8
        )

    @cached_property
    def _resampler(self) -> Resampler:
        return Resampler(self._sample_rate_hz, self.codec.config.sample_rate_hz, self._n_channels)

    @cached_property
    def _state(self) -> Any:
        return self.codec.start_encoder(
            self.n_streams, denoise=self._options.denoise, search=self._options.search(self._device)
        )

    def header(self, n_samples: int | None, metadata: Metadata = NOTHING) -> Header:
        """Return the header of the .ncx file that this makes.

        n_samples  of the source, per channel; None if only the trailer will tell
        metadata   of the source

        Raises AudioError.
        """
        config, options = self.codec.config, self._options
        parameters = pack_parameters(self.codec.number, denoise=options.denoise)
        extensions = ((CODEC_PARAMETERS, parameters),) if parameters else ()
        if self._n_copies > 1:
            extensions += ((CHANNEL_COPIES, bytes([self._n_copies])),)
        kept = fitting(metadata, pictures=options.keep_pictures)
        self.left_out = kept.left_out
        try:
            return Header(
                architecture=self.codec.number,
                model_id=options.model.model_id,
                model_fingerprint=options.model.fingerprint,
                sample_rate_hz=config.sample_rate_hz,
                n_channels=self._n_channels,
                n_streams=self.n_streams,
                codebook_size=config.codebook_size,
                n_codebooks=options.n_q,
                samples_per_frame=config.samples_per_frame,
                **options.entropy.header_fields(),
                bitrate_bps=round(options.n_q * config.codebook_bps * self.n_streams),
                source_sample_rate_hz=self._sample_rate_hz,
                n_samples=n_samples,
                tags=kept.tags,
                extensions=extensions,
                attachments=tuple((PICTURE_KIND, picture.pack()) for picture in kept.pictures),
            )
        except FormatError as error:
            raise AudioError(f"{self._name}: cannot be described by a .ncx file: {error}") from None

    def leave_out_late(self, header: Header, metadata: Metadata) -> None:
        """Note what a source told only after its header was written."""
        kept = fitting(metadata, pictures=self._options.keep_pictures)
        late = {key for key, _ in kept.tags} - {key for key, _ in header.tags}
        late |= {"pictures"} if len(kept.pictures) > len(header.pictures) else set()
        self.left_out += tuple(sorted(late))

    def push(self, block: NDArray[np.float32]) -> Iterator[ArrayChunk]:
        """Yield the codes [S, Q, F], F > 0, and scales that become known with [C, T] samples."""
        return _without_empty(task() for task in self._begin(block))

    def finish(self) -> Iterator[ArrayChunk]:
        """Yield what is left."""
        return _without_empty(task() for task in self._end())

    def chunks(
        self, source: Source, on_progress: Callable[[int], None] = lambda n_samples: None,
        block_seconds: float = PIECE_SECONDS,
    ) -> Iterator[ArrayChunk]:  # fmt: skip
        """Yield the codes of a source, which is read up to the last piece that is wanted.

        Each as soon as it is known, by this thread alone.

        Raises AudioError if the source changes its length while it is read.
        """
        tasks = self._tasks(source, on_progress, block_seconds)
        return _without_empty(task() for task in tasks)

    def packets(
        self, source: Source, coder: EntropyCoder,
        on_progress: Callable[[int], None] = lambda n_samples: None,
    ) -> Iterator[CodedPacket]:  # fmt: skip
        """Yield the codes of `chunks` as key packets, on `native.threads.n_threads` threads."""
        tasks = self._tasks(source, on_progress, PIECE_SECONDS)
        coded = in_order(partial(_coded, task, coder) for task in tasks)
        return (packet for packet in coded if packet is not None)

    def write(
        self, source: Source, to: CodesWriter,
        on_progress: Callable[[int], None] = lambda n_samples: None,
    ) -> None:  # fmt: skip
        """Write `packets`, and the trailer."""
        for packet in self.packets(source, to.coder, on_progress):
            to.put(packet)
        to.finish(self.n_samples)

    def _tasks(
        self, source: Source, on_progress: Callable[[int], None], block_seconds: float
    ) -> Iterator[_Task]:
        n_block = round(block_seconds * source.sample_rate_hz)
        for block in source.blocks(max(1, min(n_block, BLOCK_VALUES // source.n_channels))):
            yield from self._begin(block)
            on_progress(block.shape[1])
            if self._next >= self._wanted.stop:
                return
        yield from self._end()
        if source.n_samples not in (None, self.n_samples):
            raise AudioError(
                f"{source.name}: {source.n_samples} samples were announced, "
                f"{self.n_samples} were read"
            )

    def _begin(self, block: NDArray[np.float32]) -> Iterator[_Task]:
        self.n_samples += block.shape[1]
        for piece in self._pieces.push(self._resampler.push(block[: self._n_channels])):
            yield from self._begin_piece(piece)

    def _end(self) -> Iterator[_Task]:
        nothing = np.zeros((len(self._pieces.rest), 0), np.float32)
        for piece in self._pieces.push(self._resampler.push(nothing, last=True)):
            yield from self._begin_piece(piece)
        yield from self._begin_piece(self._pieces.rest, last=True)
        self.is_finished = True

    def _begin_piece(self, piece: NDArray[np.float32], *, last: bool = False) -> Iterator[_Task]:
        number = self._next
        self._next += 1
        if number < self._wanted.start - 1:  # that one leaves its traces in the state
            return
        n_channels, n_samples = piece.shape
        wav = piece.reshape(self.n_streams, n_channels // self.n_streams, n_samples)
        wav = np.broadcast_to(wav, (self.n_streams, self.codec.config.n_channels, n_samples))
        task = self.codec.begin_arrays(wav, self._state, self._options.n_q, last=last)
        if number in self._wanted:
            yield partial(self._checked, task)

    def _checked(self, task: _Task) -> ArrayChunk:
        chunk = task()
        if not np.isfinite(chunk.scales).all():
            raise AudioError(f"{self._name}: its level is beyond what float32 holds")
        return chunk


def _without_empty(chunks: Iterable[ArrayChunk]) -> Iterator[ArrayChunk]:
    return (chunk for chunk in chunks if chunk.codes.shape[-1])


def _coded(task: _Task, coder: EntropyCoder) -> CodedPacket | None:
    """Return a key packet of a chunk, if it has frames."""
    chunk = task()
    scales = tuple(chunk.scales.flatten().tolist())
    return code_packet(coder, chunk.codes, scales) if chunk.codes.shape[-1] else None


def count_streams(name: str, n_channels: int, model: ModelFile, channels_per_stream: int) -> int:
    """Return how many streams `n_channels` make; a single one is repeated to fill one.

    Raises AudioError where they are not whole.
    """
    if n_channels == 1:
        return 1
    n_streams, odd = divmod(n_channels, channels_per_stream)
    if odd:
        raise AudioError(
            f"{name}: {n_channels} channels; model {model.model_id!r} codes "
            f"{channels_per_stream} at a time"
        )
    return n_streams
