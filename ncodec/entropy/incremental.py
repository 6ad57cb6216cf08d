"""The network frame by frame, as decoding needs it: in two ways, with the same frequencies.

Shapes: P packets, S streams, B = P S rows, K codes.
"""

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ncodec.entropy.inter_channel import ROOM_BITS
from ncodec.entropy.network import Network
from ncodec.entropy.numpy_decoder import NumpyDecoder
from ncodec.entropy.torch_ops import frequencies


class IncrementalDecoder(Protocol):
    """Packets side by side, from their first frame on."""

    def advance(self) -> None:
        """Go on to the next frame."""
        ...

    def frequencies(self, stream: int, q: int) -> NDArray[np.float32]:
        """Return the frequencies [P, K] of codebook q, once those before it were appended."""
        ...

    def append(self, stream: int, q: int, codes: NDArray[np.int64]) -> None:
        """Take the codes [P] of codebook q."""
        ...

    def keep(self, n_packets: int) -> None:
        """Forget all packets but the first."""
        ...


def begin(network: Network, n_packets: int, n_streams: int, n_q: int) -> IncrementalDecoder:
    """Return key packets of `n_q` codebooks before their first frame."""
    on_cpu = network.vectors.device.type == "cpu"
    return (NumpyDecoder if on_cpu else TorchDecoder)(network, n_packets, n_streams, n_q)


class TorchDecoder:
    """On any device, by the operations of `Network`."""

    def __init__(self, network: Network, n_packets: int, n_streams: int, n_q: int) -> None:
        self._network, self._n_streams, self._n_q = network, n_streams, n_q
        self._state = network.begin(n_packets * n_streams)
        self._hidden = self._state.before

    def advance(self) -> None:
        """See IncrementalDecoder."""
        network, state = self._network, self._state
        inputs = network.inputs(state.before, self._n_q)
        self._hidden = network.advance(inputs[:, None], state)[:, 0]
        state.before = torch.zeros_like(state.before)

    def frequencies(self, stream: int, q: int) -> NDArray[np.float32]:
        """See IncrementalDecoder."""
        rows = slice(stream, None, self._n_streams)
        logits = self._network.logits(self._hidden[rows] + self._state.before[rows], q)
        table = frequencies(logits, self._network.heads[q].shift, ROOM_BITS)
        return table.to(torch.float32).cpu().numpy()

    def append(self, stream: int, q: int, codes: NDArray[np.int64]) -> None:
        """See IncrementalDecoder."""
        known = torch.from_numpy(codes).to(self._hidden.device)
        rows = slice(stream, None, self._n_streams)
        self._state.before[rows] += F.embedding(known, self._network.vectors[q])

    def keep(self, n_packets: int) -> None:
        """See IncrementalDecoder."""
        n_rows, state = n_packets * self._n_streams, self._state
        state.before = state.before[:n_rows]
        state.keys = [keys[:n_rows] for keys in state.keys]
        state.values = [values[:n_rows] for values in state.values]
