"""The transformer coder by torch's operations: what the kernel computes, to be read.

It is the fall-back where the kernel was not built, some ten times slower, and what the kernel is
tested against. A packet is encoded in parallel passes over its frames; decoding goes frame by
frame, and takes many packets side by side. Both see the same frequencies; formats/PAYLOADS.md,
section 4.

Shapes: P packets, S streams, B = P S rows, Q codebooks, F frames, K codes, D width.
"""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ncodec.entropy.inter_channel import ROOM_BITS, InterChannelPredictor
from ncodec.entropy.rangecoder import RangeDecoder, RangeEncoder
from ncodec.entropy.torch_network import TorchNetwork
from ncodec.entropy.torch_ops import frequencies
from ncodec.errors import PayloadError
from ncodec.nn.threads import one_thread

_SEGMENT_ROWS = 512  # rows times frames of the trunk in one pass
_HEAD_ROWS = 128  # of frequencies at once, so that they stay in the cache


@contextlib.contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """Keep out what the caller may have set: gradients, autocast, a number of threads."""
    with one_thread, torch.inference_mode(), torch.autocast(device.type, enabled=False):
        yield


class ReferenceContext:
    """What the past of some packets leaves; see `ncodec.native.kernel.Context`."""

    def __init__(self, network: TorchNetwork, n_streams: int, n_q: int, n_packets: int = 1) -> None:
        self._network, self._n_streams, self._n_q = network, n_streams, n_q
        self._device = network.vectors.device
        self._state = network.begin(n_packets * n_streams)
        self._predictor = InterChannelPredictor(n_packets, n_streams, n_q)

    def encode(self, codes: NDArray[np.integer]) -> bytes:
        """Return the payload of a packet of codes [F, S, Q]."""
        encoder = RangeEncoder()
        window = self._network.config.window
        n_segment = max(1, _SEGMENT_ROWS // self._n_streams // window) * window
        n_at_once = max(1, _HEAD_ROWS // self._n_streams)
        with _undisturbed(self._device):
            for first in range(0, len(codes), n_segment):
                part = np.ascontiguousarray(codes[first : first + n_segment], np.int64)
                hidden, vectors = self._known(part)
                for start in range(0, len(part), n_at_once):
                    frames = slice(start, start + n_at_once)
                    table = self._tables(hidden[:, frames], [v[:, frames] for v in vectors])
                    self._mix(table, part[frames])
                    rows = table.reshape(-1, self._network.config.codebook_size)
                    encoder.encode(part[frames].reshape(-1), rows)
        return encoder.finish()

    def _known(self, codes: NDArray[np.int64]) -> tuple[Tensor, list[Tensor]]:
        """Return h of known codes [F, S, Q], and their vectors by codebook: [S, F, D]."""
        network, state = self._network, self._state
        rows = torch.from_numpy(codes).to(self._device).transpose(0, 1)
        vectors = [F.embedding(rows[..., q], network.vectors[q]) for q in range(self._n_q)]
        sums = torch.stack(vectors).sum(0)
        before = torch.cat([state.before[:, None], sums[:, :-1]], 1)
        state.before = sums[:, -1]
        return network.advance(network.inputs(before, self._n_q), state), vectors

    def _tables(self, hidden: Tensor, vectors: Sequence[Tensor]) -> NDArray[np.int32]:
        """Return the frequencies [F, S, Q, K] of known codes; the others are [S, F, D]."""
        network = self._network
        n_streams, n_frames, _ = hidden.shape
        shape = (n_frames, n_streams, self._n_q, network.config.codebook_size)
        table = torch.empty(shape, dtype=torch.int32, device=self._device)
        for q, part in enumerate(vectors):
            logits = network.logits(hidden.flatten(0, 1), q)
            rows = frequencies(logits, network.heads[q].shift, ROOM_BITS)
            table[:, :, q] = rows.view(n_streams, n_frames, -1).transpose(0, 1)
            hidden = hidden + part
        return table.cpu().numpy()

    def _mix(self, table: NDArray[np.int32], codes: NDArray[np.int64]) -> None:
        """Apply the predictor to frequencies [F, S, Q, K] of one packet's codes [F, S, Q]."""
        index = (0, slice(1, None))
        for rows, frame in zip(table[:, 1:], codes, strict=True):
            raised = self._predictor.mix(index, rows, frame[:-1])
            self._predictor.learn(index, rows, raised, frame[:-1], frame[1:])

    def decode(
        self, payloads: Sequence[bytes], n_frames: Sequence[int]
    ) -> tuple[list[NDArray[np.int32]], list[int]]:
        """Return the codes [F, S, Q] of packets in order of falling length.

        And for each -1, or after how many codes no symbol fits its payload.
        """
        shape = (self._n_streams, self._n_q)
        found = [np.zeros((count, *shape), np.int32) for count in n_frames]
        decoders: list[RangeDecoder | None] = [RangeDecoder(payload) for payload in payloads]
        failed = [-1] * len(found)
        with _undisturbed(self._device):
            for number in range(n_frames[0] if n_frames else 0):
                n_active = sum(count > number for count in n_frames)
                if not any(decoders[:n_active]):
                    break
                self._keep(n_active)
                frame = np.zeros((n_active, *shape), np.int32)
                self._decode_frame(decoders, failed, frame)
                for codes, decoded in zip(found, frame, strict=False):
                    codes[number] = decoded
        return found, failed

    def _keep(self, n_packets: int) -> None:
        """Forget all packets but the first."""
        n_rows, state = n_packets * self._n_streams, self._state
        state.before = state.before[:n_rows]
        state.keys = [keys[:n_rows] for keys in state.keys]
        state.values = [values[:n_rows] for values in state.values]

    def _decode_frame(
        self, decoders: list[RangeDecoder | None], failed: list[int], frame: NDArray[np.int32]
    ) -> None:
        """Fill `frame` [P, S, Q], of the first P decoders."""
        network, state = self._network, self._state
        inputs = network.inputs(state.before, self._n_q)
        hidden = network.advance(inputs[:, None], state)[:, 0]
        state.before = torch.zeros_like(state.before)
        for stream in range(self._n_streams):
            rows = slice(stream, None, self._n_streams)
            for q in range(self._n_q):
                logits = network.logits(hidden[rows] + state.before[rows], q)
                table = frequencies(logits, network.heads[q].shift, ROOM_BITS).cpu().numpy()
                if stream == 0:
                    codes = _read(decoders, failed, table)
                else:
                    index, predicted = (slice(len(frame)), stream, q), frame[:, stream - 1, q]
                    raised = self._predictor.mix(index, table, predicted)
                    codes = _read(decoders, failed, table)
                    self._predictor.learn(index, table, raised, predicted, codes)
                frame[:, stream, q] = codes
                known = torch.from_numpy(codes).to(self._device)
                state.before[rows] += F.embedding(known, network.vectors[q])


def _read(
    decoders: list[RangeDecoder | None], failed: list[int], table: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Return the next code of each of the first N payloads, given frequencies [N, K].

    One that no symbol fits gives 0 from then on.
    """
    codes = np.zeros(len(table), np.int64)
    for i, decoder in enumerate(decoders[: len(table)]):
        if decoder is not None:
            try:
                codes[i] = decoder.decode(table[i : i + 1])[0]
            except PayloadError:
                failed[i], decoders[i] = decoder.n_symbols, None
    return codes
