"""A slow decoder of the transformer's payloads, from formats/PAYLOADS.md, section 4, alone.

NumPy int64 and Python's integers; no torch, no floating point but in the range coder's own decoder.
"""

import math

import numpy as np


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
    def __init__(self, range_decoder, tensors, n_heads, window, n_streams, n_codebooks):
        self.range_decoder = range_decoder
        self.t = {name: np.asarray(tensor, np.int64) for name, tensor in tensors.items()}
        self.n_heads, self.window = n_heads, window
        self.n_streams, self.n_codebooks = n_streams, n_codebooks
        _, self.size, self.width = self.t["vectors"].shape
        self.n_layers = sum(name.endswith("attend") for name in self.t)

    def start(self):
        self.past = [[[] for _ in range(self.n_layers)] for _ in range(self.n_streams)]
        self.z = [np.zeros(self.width, np.int64) for _ in range(self.n_streams)]
        shape = (self.n_streams, self.n_codebooks)
        self.model, self.twin = np.full(shape, 31744), np.full(shape, 1024)

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

    def decode_with_twin(self, coder, f, stream, q, twin):
        if self.twin[stream, q] > self.model[stream, q]:
            f = 1 + f // 2**7
        bet = min(1 << 21, int(f.sum()) * int(self.twin[stream, q]) // int(self.model[stream, q]))
        f[twin] += bet
        code = coder.decode(f.tolist())
        earned = 1024 * bet // int(f[code]) if code == twin else 0
        self.twin[stream, q] += earned
        self.model[stream, q] += 1024 - earned
        if self.model[stream, q] + self.twin[stream, q] >= 65536:
            self.model[stream, q] = self.model[stream, q] // 2 + 1
            self.twin[stream, q] = self.twin[stream, q] // 2 + 1
        return code

    def decode(self, payload, n_frames, *, dependent=False):
        if not dependent:
            self.start()
        coder = self.range_decoder(payload)
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
                        twin = codes[stream - 1, q, frame]
                        code = self.decode_with_twin(coder, f, stream, q, twin)
                    codes[stream, q, frame] = code
                    z = z + (self.t["vectors"][q, code] << (8 - self.t["vectors.shift"][q]))
                self.z[stream] = z
        return codes
