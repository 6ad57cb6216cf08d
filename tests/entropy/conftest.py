"""Slow decoders written from the normative text alone, to check the fast ones against."""

import numpy as np
import pytest

MASK = (1 << 64) - 1


class ReferenceRangeDecoder:
    """ncodec/entropy/rangecoder.py, 'Normative', one symbol at a time."""

    def __init__(self, payload):
        self.bits = payload + bytes(8)
        self.at = 8
        self.point = int.from_bytes(self.bits[:8], "big")
        self.low, self.range = 0, MASK

    def decode(self, row):
        total, size = sum(row), len(row)
        scale = np.float32((1 << 24) - size) / np.float32(total)
        starts = np.cumsum([0, *row[:-1]])
        cum = [int(np.float32(c) * scale) + s for s, c in enumerate(starts)] + [1 << 24]
        unit = self.range >> 24
        quotient = ((self.point - self.low) & MASK) // unit
        assert quotient < 1 << 24
        symbol = max(s for s in range(size) if cum[s] <= quotient)
        self.low = (self.low + unit * cum[symbol]) & MASK
        self.range = unit * (cum[symbol + 1] - cum[symbol])
        if self.range < 1 << 32:
            word = self.bits[self.at : self.at + 4].ljust(4, b"\0")
            self.at += 4
            self.low = (self.low << 32) & MASK
            self.range <<= 32
            self.point = ((self.point << 32) & MASK) | int.from_bytes(word, "big")
        return symbol


class ReferenceAdaptiveDecoder:
    """ncodec/entropy/adaptive.py, 'Normative', with a list for every table."""

    def __init__(self, n_streams, n_codebooks, codebook_size):
        self.n_streams, self.n_codebooks, self.size = n_streams, n_codebooks, codebook_size

    def start(self):
        n_channels = self.n_streams * self.n_codebooks
        self.learnt = []  # frames
        self.next = [list(range(self.size)) for _ in range(n_channels)]
        self.weights = [[12288, 2048, 1024, 1024, 1024, 1024] for _ in range(n_channels)]

    def masses(self, channel, k, previous, frame):
        n, weights = len(self.learnt), self.weights[channel]
        total = sum(weights)
        masses = [max(1, weights[0] * 2**21 // (total * self.size)), 0, 0, 0, 0, 0]
        if n:
            for i, length in ((1, 2048), (2, 32)):
                count = sum(learnt[channel] == k for learnt in self.learnt[-length:])
                masses[i] = weights[i] * 2**21 // (total * min(n, length)) * count
            masses[3] = weights[3] * 2**21 // total * (k == previous)
            masses[4] = weights[4] * 2**21 // total * (k == self.next[channel][previous])
        if channel >= self.n_codebooks:
            masses[5] = weights[5] * 2**21 // total * (k == frame[channel - self.n_codebooks])
        return masses

    def decode(self, payload, n_frames, *, dependent):
        if not dependent:
            self.start()
        coder = ReferenceRangeDecoder(payload)
        frames = []
        while len(frames) < n_frames:
            length = min(1 if len(self.learnt) < 16 else 4, n_frames - len(frames))
            block, gained = [], [[0] * 6 for _ in self.weights]
            for _ in range(length):
                before = (self.learnt + block)[-1] if self.learnt else None
                frame = []
                for channel, gain in enumerate(gained):
                    previous = before[channel] if before else None
                    masses = [self.masses(channel, k, previous, frame) for k in range(self.size)]
                    code = coder.decode([sum(each) for each in masses])
                    frame.append(code)
                    for i, mass in enumerate(masses[code]):
                        gain[i] += 1024 * mass // sum(masses[code])
                block.append(frame)
            self.learn(block, gained)
            frames += block
        shape = n_frames, self.n_streams, self.n_codebooks
        return np.array(frames, np.int64).reshape(shape).transpose(1, 2, 0)

    def learn(self, block, gained):
        for weights, gain in zip(self.weights, gained, strict=True):
            weights[:] = [w + g for w, g in zip(weights, gain, strict=True)]
            if sum(weights) >= 65536:
                weights[:] = [w // 2 + 1 for w in weights]
        for frame in block:
            if self.learnt:
                for channel, code in enumerate(frame):
                    self.next[channel][self.learnt[-1][channel]] = code
            self.learnt.append(frame)


@pytest.fixture(scope="session")
def reference_range_decoder():
    return ReferenceRangeDecoder


@pytest.fixture(scope="session")
def reference_adaptive_decoder():
    return ReferenceAdaptiveDecoder
