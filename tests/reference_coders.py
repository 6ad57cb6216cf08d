"""Slow decoders written from formats/PAYLOADS.md alone, to check the fast ones against.

NumPy int64 and Python's integers, no torch; floating point only where section 2 prescribes it.
"""

import math

import numpy as np

MASK = (1 << 64) - 1


class ReferenceRangeDecoder:
    """Section 2, one symbol at a time."""

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
    """Section 3, with a list for every table."""

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


class ReferenceMixedDecoder:
    """Section 5, with all frames since the key packet in a list."""

    def __init__(self, n_streams, n_codebooks, codebook_size):
        self.n_codebooks, self.size = n_codebooks, codebook_size
        self.shape = n_streams, n_codebooks
        self.n_channels = n_streams * n_codebooks
        self.n_bits = math.ceil(math.log2(codebook_size))

    def start(self):
        self.x = []  # frames
        self.weights = [[w] * 21 for w in (49152, 8192, 8192, 8192, 65536)]
        self.h = {(i, b): 32768 for i in range(self.n_channels) for b in range(self.n_bits)}

    @staticmethod
    def log(y):
        e = int(math.log2(y))
        return 4096 * e + 4096 * (y - 2**e) // 2**e

    def history(self, t, i):
        """Codes and their four masses."""
        x, found = self.x, []
        for d in range(1, min(t, 1024) + 1):
            here = [x[t - d][j] == x[t][j] for j in range(i)]
            left, last = bool(i and here[-1]), False
            points = sum(here) + 2 * left
            if t - d >= 1:
                before = [x[t - d - 1][j] == x[t - 1][j] for j in range(self.n_channels)]
                last = before[i]
                points += sum(before) + 3 * last
            if t - d >= 2:
                points += 3 * (x[t - d - 2][i] == x[t - 2][i])
            alike = 2**17 // (32 + d) * 2 ** min(9, points)
            found.append((x[t - d][i], (alike, 8, 64 * left, 64 * last)))
        return found

    def evidence(self, masses, prior):
        ones = sum(mass for bit, mass in masses if bit)
        zeros = sum(mass for bit, mass in masses if not bit)
        level = min(20, (self.log(ones + zeros + prior) - self.log(prior)) // 2048)
        return level, self.log(ones + prior) - self.log(zeros + prior)

    def code(self, coder, t, i):
        history, found = self.history(t, i), 0
        for b in reversed(range(self.n_bits)):
            if found + 2**b >= self.size:
                continue
            same = [each for each in history if each[0] >> (b + 1) == found >> (b + 1)]
            heard = []
            for p, bits in enumerate((9, 0, 0, 0)):
                masses = [(code >> b & 1, mass[p]) for code, mass in same]
                heard.append(self.evidence(masses, 2 ** (b + bits)))
            guess = None
            if i >= self.n_codebooks:
                code = self.x[t][i - self.n_codebooks]
                if code >> (b + 1) == found >> (b + 1):
                    guess, h = code >> b & 1, self.h[i, b]
                    heard.append((b, (self.log(h) - self.log(65536 - h)) * (1 if guess else -1)))
            s = sum(w[at] * e for w, (at, e) in zip(self.weights, heard, strict=False)) // 2**16
            i_, r = divmod(min(abs(s), 61440), 4096)
            row = [0, 0]
            row[s >= 0], row[s < 0] = 65536, (8192 - r) * 8 // 2**i_
            bit = coder.decode(row)
            missed = row[1 - bit] * 65536 // sum(row) * (1 if bit else -1)
            for weights, (at, e) in zip(self.weights, heard, strict=False):
                weights[at] = min(524288, max(-524288, weights[at] + missed * e // 2**18))
            if guess is not None:
                h = self.h[i, b]
                self.h[i, b] += (65536 - h) // 16 if guess == bit else -(h // 16)
            found += bit * 2**b
        return found

    def decode(self, payload, n_frames, *, dependent):
        if not dependent:
            self.start()
        coder = ReferenceRangeDecoder(payload)
        for _ in range(n_frames):
            self.x.append([])
            for i in range(self.n_channels):
                self.x[-1].append(self.code(coder, len(self.x) - 1, i))
        frames = self.x[len(self.x) - n_frames :]
        return np.array(frames, np.int64).reshape(n_frames, *self.shape).transpose(1, 2, 0)


def shifted(x, bits):
    """R(x / 2**bits), halves to even."""
    x = np.asarray(x, np.int64)
    bits = np.broadcast_to(np.asarray(bits, np.int64), x.shape)
    down = np.maximum(bits, 1)
    rounded = (x + (1 << (down - 1)) - 1 + ((x >> down) & 1)) >> down
    return np.where(bits > 0, rounded, x << np.maximum(-bits, 0))


def rounded_quotient(a, b):
    """R(a / b) for b > 0."""
    q, r = np.divmod(np.asarray(a, np.int64), b)
    return q + ((2 * r > b) | ((2 * r == b) & (q % 2 == 1)))


def limited(x, limit):
    return np.clip(x, -limit, limit)


def falling(x, b):
    """E(x, b) as a numerator and the power of two it is divided by."""
    x = np.minimum(np.asarray(x, np.int64), 24 << b)
    i, r = x >> b, x & ((1 << b) - 1)
    return (2 << b) - r, b + 1 + i


class ReferenceTransformerDecoder:
    """Section 4."""

    def __init__(self, tensors, n_heads, window, n_streams, n_codebooks):
        self.t = {name: np.asarray(tensor, np.int64) for name, tensor in tensors.items()}
        self.n_heads, self.window = n_heads, window
        self.n_streams, self.n_codebooks = n_streams, n_codebooks
        _, self.size, self.width = self.t["vectors"].shape
        self.n_layers = sum(name.endswith("attend") for name in self.t)

    def start(self):
        self.past = [[[] for _ in range(self.n_layers)] for _ in range(self.n_streams)]
        self.z = [np.zeros(self.width, np.int64) for _ in range(self.n_streams)]
        shape = (self.n_streams, self.n_codebooks)
        self.model, self.predictor = np.full(shape, 31744), np.full(shape, 1024)

    def product(self, name, y, unit, row=()):
        return shifted(self.t[name][row] @ y, self.t[f"{name}.shift"][row] - unit)

    def norm(self, x):
        total = max(1, int(np.abs(x).sum()))
        e = total.bit_length() - 1
        t = total << 8 >> e
        nearest = round(math.log2(64 * self.width / 3))
        return limited(shifted(x * rounded_quotient(1 << 17, t), 9 + e - nearest), 127)

    def attend(self, n, x, past):
        parts = limited(self.product(f"layers.{n}.attend", self.norm(x), 0), 127)
        q, k, v = parts.reshape(3, self.n_heads, -1)
        past.insert(0, (k, v))
        del past[self.window :]
        heads = []
        for head in range(self.n_heads):
            scores = np.array([q[head] @ k[head] for k, _ in past])
            scores += self.t[f"layers.{n}.distance"][head, : len(past)]
            share, power = falling(scores.max() - scores, 10)
            w = shifted(share << 8, power)
            heads.append(rounded_quotient(w @ np.array([v[head] for _, v in past]), w.sum()))
        return np.concatenate(heads)

    def add(self, x, name, y, unit):
        return limited(x + limited(self.product(name, y, unit), 65534), 32767)

    def hidden(self, x, past):
        for n in range(self.n_layers):
            x = self.add(x, f"layers.{n}.gather", self.attend(n, x, past[n]), 4)
            g = np.clip(self.product(f"layers.{n}.up", self.norm(x), 5), 0, 2040)
            x = self.add(x, f"layers.{n}.down", shifted(g * g, 15), 5)
        return limited(self.product("frame", self.norm(x), 4), 32767)

    def frequencies(self, y, q):
        g = np.clip(self.product("heads.up", self.norm(limited(y, 32767)), 5, row=q), 0, 2040)
        logits = self.t["heads.out"][q] @ shifted(g * g, 15) + self.t["heads.bias"][q]
        share, power = falling(logits.max() - logits, 3 + int(self.t["heads.out.shift"][q]))
        a = 23 - math.ceil(math.log2(self.size))
        total, j = int((share << a >> power).sum()), -4
        while (total + self.size) << (j + 5) <= ((1 << 21) - self.size) << 4:
            j += 1
        return 1 + (share << (a + j) >> power)

    def decode_predicted(self, coder, f, stream, q, predicted):
        if self.predictor[stream, q] > self.model[stream, q]:
            f = 1 + f // 2**7
        added = min(
            1 << 21, int(f.sum()) * int(self.predictor[stream, q]) // int(self.model[stream, q])
        )
        f[predicted] += added
        code = coder.decode(f.tolist())
        earned = 1024 * added // int(f[code]) if code == predicted else 0
        self.predictor[stream, q] += earned
        self.model[stream, q] += 1024 - earned
        if self.model[stream, q] + self.predictor[stream, q] >= 65536:
            self.model[stream, q] = self.model[stream, q] // 2 + 1
            self.predictor[stream, q] = self.predictor[stream, q] // 2 + 1
        return code

    def decode(self, payload, n_frames, *, dependent=False):
        if not dependent:
            self.start()
        coder = ReferenceRangeDecoder(payload)
        codes = np.zeros((self.n_streams, self.n_codebooks, n_frames), np.int64)
        for frame in range(n_frames):
            for stream in range(self.n_streams):
                x = limited(self.z[stream] + self.t["start"][self.n_codebooks - 1], 32767)
                h = self.hidden(x, self.past[stream])
                z = np.zeros_like(h)
                for q in range(self.n_codebooks):
                    f = self.frequencies(h + z, q)
                    if stream == 0:
                        code = coder.decode(f.tolist())
                    else:
                        predicted = codes[stream - 1, q, frame]
                        code = self.decode_predicted(coder, f, stream, q, predicted)
                    codes[stream, q, frame] = code
                    z = z + (self.t["vectors"][q, code] << (8 - self.t["vectors.shift"][q]))
                self.z[stream] = z
        return codes
