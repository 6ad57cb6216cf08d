"""The transformer coder: range coding with the frequencies of the integer transformer.

The codes of 2 streams with 3 codebooks each. A code is predicted from the codes on its left, and in
later streams from the one above it (v) too. They are coded frame by frame, in a frame row by row:

                 frame 0             frame 1
    stream 0     q0 > q1 > q2        q0 > q1 > q2
                 v    v    v         v    v    v
    stream 1     q0 > q1 > q2        q0 > q1 > q2

The work is done by the kernel in C, or where it was not built by `reference`, with the same bytes;
formats/PAYLOADS.md, section 4.

Shapes: S streams, Q codebooks, F frames.
"""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ncodec.entropy.base import EntropyCoder
from ncodec.entropy.network import Network
from ncodec.entropy.rangecoder import check_payload, no_symbol_fits
from ncodec.errors import LimitExceeded, PayloadError, UsageError
from ncodec.native.kernel import MAX_ROWS
from ncodec.native.threads import in_order, n_threads

MAX_FRAMES = 1 << 12
"""Most frames in a packet, of which each is a step of the network: bounds the time for one."""

_NO_CODES = np.zeros((1, 1, 0), np.int64)


class Context(Protocol):
    """What the past of some packets leaves; see `ncodec.native.kernel.Context`."""

    def encode(self, codes: NDArray[np.integer]) -> bytes:
        """Return the payload of a packet of codes [F, S, Q]."""
        ...

    def decode(
        self, payloads: Sequence[bytes], n_frames: Sequence[int]
    ) -> tuple[list[NDArray[np.int32]], list[int]]:
        """Return the codes [F, S, Q] of packets, and for each -1 or where it failed."""
        ...


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
        self._encoding: Context | None = None
        self._decoding: Context | None = None

    @property
    def packets_at_once(self) -> int:
        """See EntropyCoder."""
        return self._packets_of_a_thread * n_threads()

    @property
    def _packets_of_a_thread(self) -> int:
        return max(1, MAX_ROWS // self.n_streams)

    def _begin(self, n_packets: int = 1, *, to_encode: bool = False) -> Context:
        """Return the state before key packets."""
        sizes = self.n_streams, self.n_codebooks
        if self._network.kernel is None:
            network = self._network.torch  # or an error that says what is needed
            from ncodec.entropy.reference import ReferenceContext

            return ReferenceContext(network, *sizes, n_packets)
        ahead = self._packets_of_a_thread if to_encode else 1
        return self._network.kernel.context(*sizes, n_packets=n_packets, n_frames_at_once=ahead)

    def encode(self, codes: NDArray[np.integer], *, dependent: bool = False) -> bytes:
        """Return the payload of one packet; see `EntropyCoder.encode`."""
        ordered = self._ordered(codes)
        context = self._encoding if dependent else self._begin(to_encode=True)
        if context is None:
            raise UsageError("transformer coder: a dependent packet needs a packet before it")
        self._encoding = context
        return context.encode(ordered)

    def encode_many(self, packets: Sequence[NDArray[np.integer]]) -> list[bytes]:
        """Return the payloads of key packets; see `EntropyCoder.encode_many`.

        On `n_threads` threads. No dependent packet may follow.
        """
        self._encoding = None
        ordered = [self._ordered(codes) for codes in packets]
        return list(
            in_order(partial(self._begin(to_encode=True).encode, codes) for codes in ordered)
        )

    def _ordered(self, codes: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return the codes of a packet in coding order, [F, S, Q]."""
        ordered = self._check_codes(codes)
        if len(ordered) > MAX_FRAMES:
            raise UsageError(
                f"codes: at most {MAX_FRAMES} frames in a packet, found {len(ordered)}"
            )
        return ordered

    def _check_n_frames(self, n_frames: int) -> int:
        if n_frames > MAX_FRAMES:
            raise LimitExceeded(f"packet announces {n_frames} frames; the limit is {MAX_FRAMES}")
        return super()._check_n_frames(n_frames)

    def decode(
        self, payload: bytes, n_frames: int, *, dependent: bool = False
    ) -> NDArray[np.int64]:
        """Return the codes of one packet; see `EntropyCoder.decode`."""
        self._check_n_frames(n_frames)
        context = self._decoding if dependent else self._begin()
        self._decoding = None  # no context is left if this packet fails
        if context is None:
            raise PayloadError("transformer payload: the packet before this one was not decoded")
        (codes,) = self._decode([(payload, n_frames)], context)
        if isinstance(codes, PayloadError):
            raise codes
        self._decoding = context
        return codes

    def decode_start(self, payload: bytes, n_frames: int, first: int) -> NDArray[np.int64]:
        """Return the codes of the first frames; see `EntropyCoder.decode_start`."""
        check_payload(payload, self._check_n_frames(n_frames))
        self._decoding = None
        ((codes,), (failed,)) = self._begin().decode([payload], [first])
        if failed >= 0:
            raise no_symbol_fits(failed)
        return _in_order(codes)

    def decode_many(
        self, payloads: Sequence[bytes], n_frames: Sequence[int]
    ) -> list[NDArray[np.int64] | PayloadError]:
        """Return the codes of key packets, side by side; see `EntropyCoder.decode_many`.

        On `n_threads` threads.
        """
        for count in n_frames:
            self._check_n_frames(count)
        self._decoding = None
        packets = list(zip(payloads, n_frames, strict=True))
        order = sorted(range(len(packets)), key=lambda i: -n_frames[i])  # the longest come first
        n_groups = max(n_threads(), -(-len(order) // self._packets_of_a_thread))
        groups = [group for number in range(n_groups) if (group := order[number::n_groups])]
        found = in_order(
            partial(self._decode, [packets[i] for i in group], self._begin(len(group)))
            for group in groups
        )
        results: list[NDArray[np.int64] | PayloadError] = [_NO_CODES] * len(packets)
        for group, some in zip(groups, found, strict=True):
            for i, codes in zip(group, some, strict=True):
                results[i] = codes
        return results

    def _decode(
        self, packets: Sequence[tuple[bytes, int]], context: Context
    ) -> list[NDArray[np.int64] | PayloadError]:
        """Return the codes of packets in order of falling length, or why there are none."""
        results: list[NDArray[np.int64] | PayloadError] = []
        each = self.n_streams * self.n_codebooks
        for payload, count in packets:
            try:
                check_payload(payload, each * count)
                results.append(_NO_CODES)
            except PayloadError as error:
                results.append(error)
        legible = [i for i, codes in enumerate(results) if codes is _NO_CODES]
        if legible:
            payloads, n_frames = zip(*(packets[i] for i in legible), strict=True)
            for i, codes, failed in zip(legible, *context.decode(payloads, n_frames), strict=True):
                results[i] = no_symbol_fits(failed) if failed >= 0 else _in_order(codes)
        return results


def _in_order(codes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return codes [F, S, Q] as [S, Q, F]."""
    return np.ascontiguousarray(codes.transpose(1, 2, 0), np.int64)
