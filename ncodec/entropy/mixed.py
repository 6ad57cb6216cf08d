"""The mixed coder: context mixing, learnt from the packet itself, by whole numbers only.

It needs no training, knows nothing when a key packet starts, and is meant for codecs that have no
entropy model of their own. A code is coded bit by bit. Predictors say what they expect of a bit as
log-odds, and a weighted sum of these is the prediction. The weights learn as it goes: logistic
mixing (M. Mahoney, "Adaptive Weighing of Context Models for Lossless Data Compression", 2005).
Mahoney's PAQ looks contexts up in tables. This looks at all frames of the last seconds, and counts
those the more whose neighbouring codes are as here: a packet has too few codes to fill tables.

Shapes: F frames, S streams, Q codebooks, C channels (one for each codebook of each stream, stream
by stream), D frames of the history, the newest first.

The work is done by the kernel in C, or where it was not built by NumPy, with the same bytes, some
hundred times slower; formats/PAYLOADS.md, section 5.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ncodec.entropy.learning import LearningCoder
from ncodec.entropy.rangecoder import RangeDecoder, RangeEncoder
from ncodec.errors import LimitExceeded, PayloadError

_WINDOW = 1024
_MAX_CHANNELS = 1 << 13
_MOST_POINTS = 9
_OF_LEFT, _OF_BEFORE, _OF_BEFORE_THAT = 2, 3, 3  # points, beside one for each equal code
_PLAIN_MASS, _EQUAL_MASS = 8, 64
_ALIKE_PRIOR_BITS = 9
_OCTAVE_BITS = 12
_N_LEVELS = 21  # half octaves of evidence against the prior
_FURTHEST = 15 << _OCTAVE_BITS
_WEIGHT_BITS = 16
_ALIKE, _PLAIN, _LEFT, _BEFORE, _INTER_CHANNEL = range(5)
_FIRST_WEIGHTS = (3 << 14, 1 << 13, 1 << 13, 1 << 13, 1 << 16)
_MOST_WEIGHT = 8 << _WEIGHT_BITS
_SURE = 1 << 16
_RATE_BITS = 18
_HIT_BITS = 4
_OF_DISTANCE = (1 << 17) // (32 + np.arange(1, _WINDOW + 1))  # [D]


CodeBit = Callable[[list[int], int], int]
"""Takes the frequencies of 0 and 1 and, to write it, the bit; returns it."""


def _octaves(n: int) -> int:
    """Return log2(n) in 2**-12, straight between whole powers."""
    whole = n.bit_length() - 1
    return (whole << _OCTAVE_BITS) + (((n - (1 << whole)) << _OCTAVE_BITS) >> whole)


@dataclass(slots=True)
class _Evidence:
    """What one predictor says of a bit, and the place of its weight."""

    predictor: int
    level: int
    octaves: int


def _counted(predictor: int, zeros: int, ones: int, prior: int) -> _Evidence:
    halves = (_octaves(zeros + ones + prior) - _octaves(prior)) >> (_OCTAVE_BITS - 1)
    octaves = _octaves(ones + prior) - _octaves(zeros + prior)
    return _Evidence(predictor, min(halves, _N_LEVELS - 1), octaves)


class ReferenceMixedContext:
    """What the packets so far leave, none at first, by NumPy; see `ncodec.native.coders`."""

    def __init__(self, n_streams: int, n_codebooks: int, codebook_size: int) -> None:
        self.n_streams, self.n_codebooks = n_streams, n_codebooks
        self.n_channels = n_streams * n_codebooks
        self.codebook_size = codebook_size
        self.n_bits = (codebook_size - 1).bit_length()
        self.history = np.empty((0, self.n_channels), np.int64)  # [D + 2, C]
        self.equal = np.zeros(_WINDOW, np.int64)  # [D], codes of the last frame
        self.weights = [[first] * _N_LEVELS for first in _FIRST_WEIGHTS]
        self.hits = [[_SURE // 2] * self.n_bits for _ in range(self.n_channels)]

    def encode(self, codes: NDArray[np.integer]) -> bytes:
        """Return the payload of a packet of codes [F, S, Q]."""
        bits: list[int] = []
        rows: list[list[int]] = []

        def code_bit(row: list[int], bit: int) -> int:
            bits.append(bit)
            rows.append(row)
            return bit

        for frame in codes.reshape(len(codes), self.n_channels).astype(np.int64):
            for _ in self._code_frame(frame, code_bit):
                pass
        encoder = RangeEncoder()
        encoder.encode(np.array(bits, np.int32), np.array(rows, np.int32).reshape(-1, 2))
        return encoder.finish()

    def decode(self, payload: bytes, n_frames: int) -> tuple[NDArray[np.int64], int]:
        """Return the codes [F, S, Q] of a packet, and -1.

        Or instead of -1 how many codes come before one that no symbol fits; no packet may follow
        then.
        """
        frames = np.zeros((n_frames, self.n_channels), np.int64)
        decoder = RangeDecoder(payload)
        n_codes, failed = 0, -1

        def code_bit(row: list[int], _: int) -> int:
            return int(decoder.decode(np.array([row], np.int32))[0])

        try:
            for frame in frames:
                for _ in self._code_frame(frame, code_bit):
                    n_codes += 1
        except PayloadError:
            failed = n_codes
        return frames.reshape(n_frames, self.n_streams, self.n_codebooks), failed

    def _code_frame(self, frame: NDArray[np.int64], code_bit: CodeBit) -> Iterator[None]:
        """Code a frame [C], of zeros where it is read, yielding after each code, and learn it."""
        equal_before, self.equal = self.equal, np.zeros(_WINDOW, np.int64)
        n = min(len(self.history), _WINDOW)
        for channel in range(self.n_channels):
            codes = self.history[:n, channel]
            points = self.equal[:n] + equal_before[:n]
            masses = self._masses(frame, channel, points)
            frame[channel] = self._code(frame, channel, codes, masses, code_bit)
            self.equal[:n] += codes == frame[channel]
            yield
        self.history = np.concatenate([frame[None], self.history[: _WINDOW + 1]])

    def _masses(
        self, frame: NDArray[np.int64], channel: int, points: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return what frames count for the first four predictors, [4, D].

        points  [D], those for all equal codes
        """
        own, n = self.history[:, channel], len(points)
        left, before, before_that = np.zeros((3, len(own)), bool)
        if channel:
            left = self.history[:, channel - 1] == frame[channel - 1]
        before[:-1] = own[1:] == own[:1]
        before_that[:-2] = own[2:] == own[1:2]
        points = points + (_OF_LEFT * left + _OF_BEFORE * before)[:n]
        points += _OF_BEFORE_THAT * before_that[:n]
        alike = _OF_DISTANCE[:n] << np.minimum(points, _MOST_POINTS)
        plain = np.full(n, _PLAIN_MASS)
        return np.stack([alike, plain, _EQUAL_MASS * left[:n], _EQUAL_MASS * before[:n]])

    def _code(
        self, frame: NDArray[np.int64], channel: int, codes: NDArray[np.int64],
        masses: NDArray[np.int64], code_bit: CodeBit,
    ) -> int:  # fmt: skip
        """Return the code of a channel, with those of the history [D] and their masses [4, D]."""
        code, found = int(frame[channel]), 0
        is_second = channel >= self.n_codebooks
        guess = int(frame[channel - self.n_codebooks]) if is_second else 0
        hits = self.hits[channel]
        for b in reversed(range(self.n_bits)):
            if found | 1 << b >= self.codebook_size:
                continue  # no code has a one here
            ones = codes >> b & 1 == 1
            of_ones = masses[:, ones].sum(axis=1).tolist()
            of_zeros = masses[:, ~ones].sum(axis=1).tolist()
            priors = 1 << (b + _ALIKE_PRIOR_BITS), 1 << b, 1 << b, 1 << b
            heard = [
                _counted(each, of_zeros[each], of_ones[each], priors[each])
                for each in (_ALIKE, _PLAIN, _LEFT, _BEFORE)
            ]
            guessed, guesses = guess >> b & 1, is_second and (guess ^ found) >> (b + 1) == 0
            if guesses:
                sure = _octaves(hits[b]) - _octaves(_SURE - hits[b])
                heard.append(_Evidence(_INTER_CHANNEL, b, sure if guessed else -sure))
            bit = self._mix(heard, code >> b & 1, code_bit)
            if guesses and bit == guessed:
                hits[b] += (_SURE - hits[b]) >> _HIT_BITS
            elif guesses:
                hits[b] -= hits[b] >> _HIT_BITS
            found |= bit << b
            same = ones == bool(bit)
            codes, masses = codes[same], masses[:, same]
        return found

    def _mix(self, heard: list[_Evidence], bit: int, code_bit: CodeBit) -> int:
        """Code a bit and let the weights learn from it."""
        odds = sum(self.weights[each.predictor][each.level] * each.octaves for each in heard)
        odds >>= _WEIGHT_BITS
        likely = int(odds >= 0)
        whole, part = divmod(min(abs(odds), _FURTHEST), 1 << _OCTAVE_BITS)
        row = [_SURE, _SURE]
        row[1 - likely] = ((2 << _OCTAVE_BITS) - part) << 3 >> whole
        bit = code_bit(row, bit)
        missed = row[1 - bit] * _SURE // sum(row)
        for each in heard:
            weights = self.weights[each.predictor]
            by = (missed if bit else -missed) * each.octaves >> _RATE_BITS
            weights[each.level] = max(-_MOST_WEIGHT, min(_MOST_WEIGHT, weights[each.level] + by))
        return bit


class MixedCoder(LearningCoder):
    """Range coding of bits, with what frames of like contexts say of them."""

    number = 3
    name = "mixed"

    def __init__(self, *, n_streams: int, n_codebooks: int, codebook_size: int) -> None:
        super().__init__(n_streams=n_streams, n_codebooks=n_codebooks, codebook_size=codebook_size)
        self.symbols_per_code = (codebook_size - 1).bit_length()
        if n_streams * n_codebooks > _MAX_CHANNELS:
            raise LimitExceeded(
                f"mixed coder: {n_streams} streams of {n_codebooks} codebooks;"
                f" the limit is {_MAX_CHANNELS} codebooks in all"
            )

    def _reference(self) -> ReferenceMixedContext:
        return ReferenceMixedContext(self.n_streams, self.n_codebooks, self.codebook_size)
