"""The adaptive coder: frequencies learnt from the packet itself, by whole numbers only.

It needs no training, knows nothing when a key packet starts, and is meant for codecs that have no
entropy model of their own.

Shapes: B frames of a block, C channels (one for each codebook of each stream, stream by stream),
K codebook size, P predictors.

The work is done by the kernel in C, or where it was not built by NumPy, with the same bytes;
formats/PAYLOADS.md, section 3.
"""

import numpy as np
from numpy.typing import NDArray

from ncodec.entropy.learning import LearningCoder
from ncodec.entropy.rangecoder import RangeDecoder, RangeEncoder
from ncodec.errors import LimitExceeded, PayloadError

_UNIT = 1 << 10
_FIRST_WEIGHTS = np.array([12, 2, 1, 1, 1, 1], np.int64) * _UNIT
_WEIGHTS_LIMIT = 64 * _UNIT
_ROW_MASS = 1 << 21
_WINDOWS = (2048, 32)  # long, short
_FIRST_BLOCKS_END = 16
_BLOCK = 4
_MAX_PLACES = 1 << 21

_ONE = np.int32(1)
"""Of the counts' type: where it must convert, ufunc.at is five times slower."""


class ReferenceAdaptiveContext:
    """What the packets so far leave, none at first, by NumPy; see `ncodec.native.coders`.

    A place is the index of a code's cell in a flattened [C, K] table.
    """

    def __init__(self, n_streams: int, n_codebooks: int, codebook_size: int) -> None:
        self.n_streams, self.n_codebooks = n_streams, n_codebooks
        n_channels = n_streams * n_codebooks
        n_places = n_channels * codebook_size
        self.n_frames = 0
        self.codebook_size = codebook_size
        self.row_starts = np.arange(n_channels) * codebook_size  # place of code 0, [C]
        self.with_previous = slice(n_codebooks, n_channels)  # channels that have a stream before
        self.previous = slice(0, n_channels - n_codebooks)  # theirs in that stream
        self.counts = np.zeros((len(_WINDOWS), n_places), np.int32)  # long, short
        self.next = np.arange(n_places)  # place -> place
        self.recent = np.zeros((max(_WINDOWS), n_channels), np.int64)  # places, a ring of frames
        self.last_places = self.row_starts
        self.weights = np.repeat(_FIRST_WEIGHTS[:, None], n_channels, axis=1)  # [P, C]
        self._start_block()

    def encode(self, codes: NDArray[np.integer]) -> bytes:
        """Return the payload of a packet of codes [F, S, Q]."""
        frames = codes.reshape(len(codes), len(self.row_starts)).astype(np.int64)  # [F, C]
        encoder = RangeEncoder()
        start = 0
        while start < len(frames):
            block = frames[start : start + self._block_length]
            self._encode_block(encoder, block)
            start += len(block)
        return encoder.finish()

    def decode(self, payload: bytes, n_frames: int) -> tuple[NDArray[np.int64], int]:
        """Return the codes [F, S, Q] of a packet, and -1.

        Or instead of -1 how many codes, in whole streams of a frame, come before one that no
        symbol fits; no packet may follow then.
        """
        frames = np.zeros((n_frames, len(self.row_starts)), np.int64)  # [F, C]
        decoder = RangeDecoder(payload)
        failed, start = -1, 0
        while start < n_frames and failed < 0:
            block = frames[start : start + self._block_length]
            try:
                self._decode_block(decoder, block)
            except PayloadError:
                failed = decoder.n_symbols
            start += len(block)
        return frames.reshape(n_frames, self.n_streams, self.n_codebooks), failed

    @property
    def _block_length(self) -> int:
        return _BLOCK if self.n_frames >= _FIRST_BLOCKS_END else 1

    def _start_block(self) -> None:
        """Compute what stands still in a block: what each predictor's unit of evidence weighs."""
        windows = [max(1, min(self.n_frames, length)) for length in _WINDOWS]
        divisors = np.array(
            [[self.codebook_size], *([length] for length in windows), [1], [1], [1]]
        )
        # Dividing by both at once is the same as dividing twice.
        self.gains = self.weights * _ROW_MASS // (self.weights.sum(axis=0) * divisors)  # [P, C]
        np.maximum(self.gains[0], 1, out=self.gains[0])
        if self.n_frames == 0:
            self.gains[3:5] = 0
        self.gains[5, : self.with_previous.start] = 0

    def _table(self) -> NDArray[np.int32]:
        """Return the frequencies [C, K] that all frames of the block share."""
        uniform, long, short = self.gains[:3, :, None].astype(np.int32)
        long_counts, short_counts = self.counts.reshape(2, len(long), self.codebook_size)
        table = long_counts * long
        table += short_counts * short
        table += uniform
        return table

    def _learn(self, places: NDArray[np.int64], guesses: NDArray[np.int64]) -> None:
        """Take in a block and start the next one.

        places   [B, C], of the codes
        guesses  [2, B, C], the places that repeat and next predict
        """
        gains = self.gains[:, None]  # [P, 1, C]
        masses = np.zeros((len(gains), *places.shape), np.int64)  # [P, B, C]
        masses[0] = gains[0]
        np.multiply(gains[1:3], self.counts[:, places], out=masses[1:3])
        np.multiply(gains[3:5], places == guesses, out=masses[3:5])
        if self.n_streams > 1:
            codes = places - self.row_starts
            same = codes[:, self.with_previous] == codes[:, self.previous]
            masses[5, :, self.with_previous] = gains[5, :, self.with_previous] * same
        frequencies = masses.sum(axis=0)
        masses *= _UNIT
        masses //= frequencies
        self.weights += masses.sum(axis=1)
        full = self.weights.sum(axis=0) >= _WEIGHTS_LIMIT
        if full.any():
            self.weights[:, full] = self.weights[:, full] // 2 + 1
        self._learn_tables(places, guesses[0])
        self._start_block()

    def _learn_tables(self, places: NDArray[np.int64], before: NDArray[np.int64]) -> None:
        start, end = self.n_frames, self.n_frames + len(places)
        known = 1 if start == 0 else 0  # the first frame has none before it
        self.next[before[known:]] = places[known:]  # where one place comes twice the later stays
        frames = np.arange(start, end)
        for counts, length in zip(self.counts, _WINDOWS, strict=True):
            np.add.at(counts, places.reshape(-1), _ONE)
            if end > length:
                leaving = self.recent[(frames[max(0, length - start) :] - length) % max(_WINDOWS)]
                np.subtract.at(counts, leaving.reshape(-1), _ONE)
        self.recent[frames % max(_WINDOWS)] = places
        self.last_places = places[-1]
        self.n_frames = end

    def _encode_block(self, encoder: RangeEncoder, block: NDArray[np.int64]) -> None:
        table = self._table()
        repeat, following, inter_channel = self.gains[3:].astype(np.int32)
        places = self.row_starts + block  # [B, C]
        before = np.concatenate([self.last_places[None], places[:-1]])
        guesses = np.array([before, self.next[before]])
        rows = np.repeat(table[None], len(block), axis=0)  # [B, C, K]
        flat = rows.reshape(-1)
        offsets = np.arange(len(rows))[:, None] * table.size
        flat[offsets + guesses[0]] += repeat
        flat[offsets + guesses[1]] += following
        if self.n_streams > 1:
            same_code = self.row_starts[self.with_previous] + block[:, self.previous]
            flat[offsets + same_code] += inter_channel[self.with_previous]
        encoder.encode(block.reshape(-1), rows.reshape(-1, self.codebook_size))
        self._learn(places, guesses)

    def _decode_block(self, decoder: RangeDecoder, block: NDArray[np.int64]) -> None:
        """Fill `block` [B, C]."""
        table = self._table()
        flat, n = table.reshape(-1), self.n_codebooks
        repeat, following, inter_channel = self.gains[3:].astype(np.int32)
        places = np.empty_like(block)
        guesses = np.empty((2, *block.shape), np.int64)
        before = self.last_places
        for i, frame in enumerate(block):
            after = self.next[before]
            guesses[0, i], guesses[1, i] = before, after
            flat[before] += repeat
            flat[after] += following
            frame[:n] = decoder.decode(table[:n])
            for first in range(n, len(frame), n):
                rows = slice(first, first + n)
                same_code = self.row_starts[rows] + frame[first - n : first]
                flat[same_code] += inter_channel[rows]
                frame[rows] = decoder.decode(table[rows])
                flat[same_code] -= inter_channel[rows]
            flat[after] -= following
            flat[before] -= repeat
            before = np.add(self.row_starts, frame, out=places[i])
        self._learn(places, guesses)


class AdaptiveCoder(LearningCoder):
    """Range coding with a mixture of six simple predictors, each weighted by its success."""

    number = 1
    name = "adaptive"

    def __init__(self, *, n_streams: int, n_codebooks: int, codebook_size: int) -> None:
        super().__init__(n_streams=n_streams, n_codebooks=n_codebooks, codebook_size=codebook_size)
        if n_streams * n_codebooks * codebook_size > _MAX_PLACES:
            raise LimitExceeded(
                f"adaptive coder: {n_streams} streams of {n_codebooks} codebooks of"
                f" {codebook_size} codes; the limit is {_MAX_PLACES} codes in all"
            )

    def _reference(self) -> ReferenceAdaptiveContext:
        return ReferenceAdaptiveContext(self.n_streams, self.n_codebooks, self.codebook_size)
