"""The integer transformer frame by frame on the CPU, with few and cheap calls.

A frame is a few hundred small operations, which are cheaper in NumPy (see `numpy_ops`). Sums are
exact in any order, so the numbers are those of `Network`, which says what is computed.

Shapes: P packets, S streams, B = P S rows, D width, H heads, W window, K codes.
"""

import numpy as np
from numpy.typing import NDArray

from ncodec.entropy.layout import MASKED
from ncodec.entropy.network import Network
from ncodec.entropy.numpy_ops import (
    EIGHT_BIT,
    ROOT,
    STREAM,
    SUM,
    Buffers,
    Floats,
    Product,
    frequencies,
    limit,
    norm,
    squared,
    weights,
)
from ncodec.entropy.torch_ops import Matrix


class NumpyDecoder:
    """See `ncodec.entropy.incremental.IncrementalDecoder`."""

    def __init__(self, network: Network, n_packets: int, n_streams: int, n_q: int) -> None:
        c = network.config
        self._network, self._n_q, self._n_frames = network, n_q, 0
        self._start = network.start[n_q - 1].numpy()
        self._scales = network.scales.numpy()
        self._vectors = network.vectors.numpy()
        self._rolled = [table.numpy() for table in network.rolled]  # [W, H, 1, W]
        shape = (n_packets * n_streams, c.n_heads, c.window, c.width // c.n_heads)
        self._keys, self._values = (  # of frame n in slot n % W
            [np.zeros(shape, np.float32) for _ in network.layers] for _ in range(2)
        )
        self._hidden = self._first = np.zeros((n_packets, n_streams, c.width), np.float32)
        self._set_products()

    def _set_products(self) -> None:
        network, (n_packets, n_streams, _) = self._network, self._hidden.shape
        buffers: dict[tuple[int, int, int], Buffers] = {}

        def product(matrix: Matrix, n_rows: int) -> Product:
            n_out, n_in = matrix.weight.shape
            shape = (n_rows, n_out, n_in)
            if shape not in buffers:
                buffers[shape] = Buffers(*shape, small=matrix.small is not None)
            return Product(matrix, buffers[shape])

        n_rows = n_packets * n_streams
        self._layers = [
            [product(each, n_rows) for each in (layer.attend, layer.gather, layer.up, layer.down)]
            for layer in network.layers
        ]
        self._frame = product(network.frame, n_rows)
        self._heads = [
            (product(head.up, n_packets), product(head.out, n_packets), head.bias.numpy(),
             head.shift) for head in network.heads[: self._n_q]
        ]  # fmt: skip

    def keep(self, n_packets: int) -> None:
        """See IncrementalDecoder."""
        self._hidden, self._first = self._hidden[:n_packets], self._first[:n_packets]
        n_rows = n_packets * self._hidden.shape[1]
        self._keys = [keys[:n_rows] for keys in self._keys]
        self._values = [values[:n_rows] for values in self._values]
        self._set_products()

    def advance(self) -> None:
        """See IncrementalDecoder."""
        stream = (self._hidden - self._first).reshape(-1, self._hidden.shape[2])
        stream += self._start
        limit(stream, STREAM)
        for number, (attend, gather, up, down) in enumerate(self._layers):
            parts = attend.rounded(norm(stream, self._scales), EIGHT_BIT)
            self._add(stream, gather.rounded(self._attend(parts, number), SUM))
            self._add(
                stream, down.rounded(squared(up.rounded(norm(stream, self._scales), ROOT)), SUM)
            )
        self._n_frames += 1
        hidden = self._frame.rounded(norm(stream, self._scales), STREAM)
        self._first = hidden.reshape(self._hidden.shape)
        self._hidden = self._first.copy()

    def frequencies(self, stream: int, q: int) -> Floats:
        """See IncrementalDecoder; they are those of `torch_ops.frequencies`."""
        up, out, bias, shift = self._heads[q]
        hidden = self._hidden[:, stream].copy()
        limit(hidden, STREAM)
        logits = out.total(squared(up.rounded(norm(hidden, self._scales), ROOT)))
        logits += bias
        return frequencies(logits, shift)

    def append(self, stream: int, q: int, codes: NDArray[np.int64]) -> None:
        """See IncrementalDecoder."""
        self._hidden[:, stream] += self._vectors[q].take(codes, 0)

    def _attend(self, parts: Floats, number: int) -> Floats:
        """Return what attention finds in a layer, [B, D]; `parts` are queries, keys, values."""
        n_rows, (keys, values) = len(parts), (self._keys[number], self._values[number])
        query, key, value = parts.reshape(n_rows, 3, keys.shape[1], -1).swapaxes(0, 1)
        window = keys.shape[2]
        slot = self._n_frames % window
        keys[:, :, slot], values[:, :, slot] = key, value
        scores = query[:, :, None] @ keys.swapaxes(2, 3)  # [B, H, 1, W]
        scores += self._rolled[number][slot]
        if self._n_frames < window:  # the other slots hold nothing yet
            scores[..., slot + 1 :] = MASKED
        shares = weights(scores)
        mixed = shares @ values  # [B, H, 1, D / H]
        mixed /= np.add.reduce(shares, -1, keepdims=True)
        return np.rint(mixed, out=mixed).reshape(n_rows, -1)

    def _add(self, stream: Floats, more: Floats) -> None:
        stream += more
        limit(stream, STREAM)
