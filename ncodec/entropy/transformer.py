"""The transformer coder: range coding with the frequencies of the integer transformer.

A packet is encoded in one parallel pass over its frames, short ones side by side. Decoding goes
frame by frame, and takes many key packets side by side. Both see the same frequencies, which
encoding does not lay out where sums of them will do; formats/PAYLOADS.md, section 4.

The codes of 2 streams with 3 codebooks each. A code is predicted from the codes on its left, and in
later streams from the one above it (v) too. They are coded frame by frame, in a frame row by row:

                 frame 0             frame 1
    stream 0     q0 > q1 > q2        q0 > q1 > q2
                 v    v    v         v    v    v
    stream 1     q0 > q1 > q2        q0 > q1 > q2

Shapes: P packets, S streams, B = P S rows, Q codebooks, F frames, K codes, D width.
"""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ncodec.entropy.base import EntropyCoder
from ncodec.entropy.incremental import IncrementalDecoder, begin
from ncodec.entropy.inter_channel import ROOM_BITS, InterChannelPredictor
from ncodec.entropy.network import Network, State
from ncodec.entropy.rangecoder import RangeDecoders, RangeEncoder
from ncodec.entropy.torch_ops import block_sums, frequencies, intervals
from ncodec.errors import LimitExceeded, PayloadError, UsageError
from ncodec.threads import one_thread

MAX_FRAMES = 1 << 12
"""Most frames in a packet, of which each is a step of the network: bounds the time for one."""

MAX_ROWS = 64
"""Most rows of the network that are decoded side by side; bounds the memory for their context."""

_SEGMENT_ROWS = 512  # rows times frames of the trunk in one pass
_HEAD_ROWS = 128  # of logits at once, so that they stay in the cache
_NO_CODES = np.zeros((1, 1, 0), np.int64)

# What a dependent packet goes on from.
_Encoding = tuple[State, InterChannelPredictor]
_Decoding = tuple[IncrementalDecoder, InterChannelPredictor]


@contextlib.contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """Keep out what the caller may have set: gradients, autocast, a number of threads."""
    with one_thread, torch.inference_mode(), torch.autocast(device.type, enabled=False):
        yield


class TransformerCoder(EntropyCoder):
    """Frequencies from a trained integer transformer."""

    number = 2
    name = "transformer"

    def __init__(
        self, *, n_streams: int, n_codebooks: int, codebook_size: int, network: Network
    ) -> None:
        super().__init__(n_streams=n_streams, n_codebooks=n_codebooks, codebook_size=codebook_size)
        sizes = network.config
        if codebook_size != sizes.codebook_size or n_codebooks > sizes.n_codebooks:
            raise UsageError(
                f"entropy coder {self.name}: {n_codebooks} codebooks of {codebook_size} codes; its "
                f"model has {sizes.n_codebooks} of {sizes.codebook_size}"
            )
        self._network = network
        self._device = network.vectors.device
        self._encoding: _Encoding | None = None
        self._decoding: _Decoding | None = None

    @property
    def packets_at_once(self) -> int:
        """See EntropyCoder."""
        return max(1, MAX_ROWS // self.n_streams)

    def _begin(self, n_packets: int) -> _Decoding:
        sizes = (n_packets, self.n_streams, self.n_codebooks)
        return begin(self._network, *sizes), InterChannelPredictor(*sizes)

    def encode(self, codes: NDArray[np.integer], *, dependent: bool = False) -> bytes:
        """Return the payload of one packet; see `EntropyCoder.encode`."""
        ordered = self._ordered(codes)
        encoder = RangeEncoder()
        with _undisturbed(self._device):
            if not dependent:
                predictor = InterChannelPredictor(1, self.n_streams, self.n_codebooks)
                self._encoding = self._network.begin(self.n_streams), predictor
            if self._encoding is None:
                raise UsageError("transformer coder: a dependent packet needs a packet before it")
            # Whole windows: attention goes through blocks of them, and fills up the last.
            window = self._network.config.window
            n_segment = max(1, _SEGMENT_ROWS // self.n_streams // window) * window
            for start in range(0, len(ordered), n_segment):
                self._encode_segment(ordered[start : start + n_segment], encoder, self._encoding)
        return encoder.finish()

    def encode_many(self, packets: Sequence[NDArray[np.integer]]) -> list[bytes]:
        """Return the payloads of key packets; see `EntropyCoder.encode_many`.

        Short ones of a single stream are encoded side by side. No dependent packet may follow.
        """
        ordered = [self._ordered(codes) for codes in packets]
        most = _SEGMENT_ROWS // 2 if self.n_streams == 1 else 0
        short = [i for i, codes in enumerate(ordered) if 0 < len(codes) <= most]
        alone = {*range(len(packets))}.difference(short)
        payloads = {i: self.encode(packets[i]) for i in alone}
        self._encoding = None
        order = sorted(short, key=lambda i: -len(ordered[i]))
        with _undisturbed(self._device):
            while order:
                n = _SEGMENT_ROWS // len(ordered[order[0]])
                chosen, order = order[:n], order[n:]
                found = self._encode_together([ordered[i][:, 0] for i in chosen])
                payloads |= dict(zip(chosen, found, strict=True))
        return [payloads[i] for i in range(len(packets))]

    def _ordered(self, codes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the codes of a packet in coding order, [F, S, Q]."""
        ordered = self._check_codes(codes).astype(np.int64)
        if len(ordered) > MAX_FRAMES:
            raise UsageError(
                f"codes: at most {MAX_FRAMES} frames in a packet, found {len(ordered)}"
            )
        return ordered

    def _encode_together(self, packets: Sequence[NDArray[np.int64]]) -> list[bytes]:
        """Return the payloads of packets [F, Q] of one stream, in order of falling length."""
        frames = [len(codes) for codes in packets]
        padded = np.zeros((len(packets), frames[0], self.n_codebooks), np.int64)
        for row, codes in zip(padded, packets, strict=True):
            row[: len(codes)] = codes
        codes = torch.from_numpy(padded).to(self._device)
        hidden, vectors = self._hidden(codes, self._network.begin(len(packets)))
        there = (torch.arange(frames[0]) < torch.tensor(frames)[:, None]).to(self._device)
        sums = self._intervals(hidden[there], codes[there], [part[there] for part in vectors])
        payloads, first = [], 0
        for codes in packets:
            encoder = RangeEncoder()
            self._encode_intervals(encoder, codes, sums[:, first : first + len(codes)])
            first += len(codes)
            payloads.append(encoder.finish())
        return payloads

    def _encode_segment(
        self, ordered: NDArray[np.int64], encoder: RangeEncoder, context: _Encoding
    ) -> None:
        state, predictor = context
        codes = torch.from_numpy(ordered).to(self._device).transpose(0, 1)  # [S, F, Q]
        hidden, vectors = self._hidden(codes, state)
        if self.n_streams == 1:  # no prediction is mixed in, so sums of frequencies will do
            sums = self._intervals(hidden[0], codes[0], [part[0] for part in vectors])
            self._encode_intervals(encoder, ordered[:, 0], sums)
            return
        n_at_once = max(1, _HEAD_ROWS // self.n_streams)
        for start in range(0, len(ordered), n_at_once):
            frames = slice(start, start + n_at_once)
            parts = [part[:, frames] for part in vectors]
            table = self._tables(hidden[:, frames], parts)  # [F, S, Q, K]
            _mix(predictor, table, ordered[frames])
            encoder.encode(ordered[frames].reshape(-1), table.reshape(-1, self.codebook_size))

    def _hidden(self, codes: Tensor, state: State) -> tuple[Tensor, list[Tensor]]:
        """Return h of known codes [B, F, Q], and their vectors, codebook by codebook: [B, F, D]."""
        network = self._network
        vectors = [F.embedding(codes[..., q], network.vectors[q]) for q in range(self.n_codebooks)]
        sums = vectors[0].clone()
        for part in vectors[1:]:
            sums += part
        # The trunk sees the frame before: codes move one frame to the right.
        before = torch.cat([state.before[:, None], sums[:, :-1]], 1)
        state.before = sums[:, -1]
        return network.advance(network.inputs(before, self.n_codebooks), state), vectors

    def _intervals(
        self, hidden: Tensor, codes: Tensor, vectors: Sequence[Tensor]
    ) -> NDArray[np.float32]:
        """Return `intervals` [3, N, Q] of codes [N, Q]; `hidden` and the `vectors` are [N, D]."""
        network = self._network
        parts: list[tuple[Tensor, Tensor]] = []  # codebook by codebook
        for q, (vector, row) in enumerate(zip(vectors, codes.T, strict=True)):
            units, shift = network.inner(hidden, q), network.heads[q].shift
            for start in range(0, len(row), _HEAD_ROWS):
                rows = slice(start, start + _HEAD_ROWS)
                logits = network.outer(units[rows], q)
                parts.append(block_sums(logits, shift, row[rows], ROOM_BITS))
            hidden = hidden + vector
        sums, own = (torch.cat(each) for each in zip(*parts, strict=True))
        found = intervals(sums, own, codes.T.flatten())
        return found.view(3, self.n_codebooks, -1).transpose(1, 2).cpu().numpy()

    def _encode_intervals(
        self, encoder: RangeEncoder, codes: NDArray[np.int64], sums: NDArray[np.float32]
    ) -> None:
        encoder.encode_intervals(codes.reshape(-1), sums.reshape(3, -1), self.codebook_size)

    def _tables(self, hidden: Tensor, vectors: Sequence[Tensor]) -> NDArray[np.int32]:
        """Return the frequencies [F, S, Q, K] of known codes; the others are [S, F, D]."""
        network = self._network
        n_streams, n_frames, _ = hidden.shape
        shape = (n_frames, n_streams, self.n_codebooks, self.codebook_size)
        table = torch.empty(shape, dtype=torch.int32, device=self._device)
        for q, part in enumerate(vectors):
            logits = network.logits(hidden.flatten(0, 1), q)
            rows = frequencies(logits, network.heads[q].shift, ROOM_BITS)
            table[:, :, q] = rows.view(n_streams, n_frames, -1).transpose(0, 1)
            hidden = hidden + part
        return table.cpu().numpy()

    def _check_n_frames(self, n_frames: int) -> int:
        if n_frames > MAX_FRAMES:
            raise LimitExceeded(f"packet announces {n_frames} frames; the limit is {MAX_FRAMES}")
        return super()._check_n_frames(n_frames)

    def decode(
        self, payload: bytes, n_frames: int, *, dependent: bool = False
    ) -> NDArray[np.int64]:
        """Return the codes of one packet; see `EntropyCoder.decode`."""
        self._check_n_frames(n_frames)
        with _undisturbed(self._device):
            context = self._decoding if dependent else self._begin(1)
            self._decoding = None  # no context is left if this packet fails
            if context is None:
                raise PayloadError(
                    "transformer payload: the packet before this one was not decoded"
                )
            (codes,) = self._decode([payload], [n_frames], context)
            if isinstance(codes, PayloadError):
                raise codes
            self._decoding = context
        return codes

    def decode_many(
        self, payloads: Sequence[bytes], n_frames: Sequence[int]
    ) -> list[NDArray[np.int64] | PayloadError]:
        """Return the codes of key packets, side by side; see `EntropyCoder.decode_many`."""
        for count in n_frames:
            self._check_n_frames(count)
        self._decoding = None
        pairs = list(zip(payloads, n_frames, strict=True))
        order = sorted(range(len(pairs)), key=lambda i: -pairs[i][1])  # the longest come first
        results: list[NDArray[np.int64] | PayloadError] = [_NO_CODES] * len(pairs)
        with _undisturbed(self._device):
            for first in range(0, len(order), self.packets_at_once):
                chosen = order[first : first + self.packets_at_once]
                some_payloads, some_frames = zip(*(pairs[i] for i in chosen), strict=True)
                found = self._decode(some_payloads, some_frames, self._begin(len(chosen)))
                for i, codes in zip(chosen, found, strict=True):
                    results[i] = codes
        return results

    def _decode(
        self, payloads: Sequence[bytes], n_frames: Sequence[int], context: _Decoding
    ) -> list[NDArray[np.int64] | PayloadError]:
        """Return the codes of packets in order of falling length, or why there are none."""
        n_symbols = [self.n_streams * self.n_codebooks * count for count in n_frames]
        decoders = RangeDecoders(payloads, n_symbols)
        found = [np.zeros((self.n_streams, self.n_codebooks, n), np.int64) for n in n_frames]
        frame = np.zeros((len(found), self.n_streams, self.n_codebooks), np.int64)  # [P, S, Q]
        for number in range(n_frames[0] if n_frames else 0):
            n_active = sum(count > number for count in n_frames)
            if not decoders.any_left(n_active):
                break
            if n_active < len(frame):
                frame = frame[:n_active]
                context[0].keep(n_active)
            self._decode_frame(decoders, frame, context)
            for codes, decoded in zip(found, frame, strict=False):
                codes[..., number] = decoded
        pairs = zip(decoders.errors, found, strict=True)
        return [codes if error is None else error for error, codes in pairs]

    def _decode_frame(
        self, decoders: RangeDecoders, frame: NDArray[np.int64], context: _Decoding
    ) -> None:
        """Fill `frame` [P, S, Q], of the first P decoders."""
        network, predictor = context
        network.advance()
        for stream in range(self.n_streams):
            for q in range(self.n_codebooks):
                table = network.frequencies(stream, q)
                if stream == 0:
                    codes = decoders.decode(table)
                else:
                    index, predicted = (slice(len(frame)), stream, q), frame[:, stream - 1, q]
                    rows = table.astype(np.int32)
                    added = predictor.mix(index, rows, predicted)
                    codes = decoders.decode(rows.astype(np.float32))
                    predictor.learn(index, rows, added, predicted, codes)
                frame[:, stream, q] = codes
                network.append(stream, q, codes)


def _mix(
    predictor: InterChannelPredictor, table: NDArray[np.int32], codes: NDArray[np.int64]
) -> None:
    """Mix predictions into frequencies [F, S, Q, K] of one packet's codes [F, S, Q]."""
    index = (0, slice(1, None))
    for rows, frame in zip(table[:, 1:], codes, strict=True):
        added = predictor.mix(index, rows, frame[:-1])
        predictor.learn(index, rows, added, frame[:-1], frame[1:])
