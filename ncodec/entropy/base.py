"""What every entropy coder does, and the checks that all of them share.

Shapes: S streams, Q codebooks, F frames, N codes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ncodec.errors import LimitExceeded, PayloadError, UsageError

MIN_CODEBOOK_SIZE = 2
MAX_CODEBOOK_SIZE = 1 << 16
MAX_CODES = 1 << 22
"""Most codes (S * Q * F) in one packet: bounds the memory and time that a payload can ask for."""


class EntropyCoder(ABC):
    """Turns the codes of one packet into a payload, or back.

    A key packet (the default) starts from an empty context; a dependent packet continues the
    context that the packet before it left in the same object. An object either encodes or
    decodes: the two directions keep one context each, and so need one object each. Key packets
    alone may be encoded by several threads at once.
    """

    number: ClassVar[int]
    """The coder's number in the header's table."""
    name: ClassVar[str]

    def __init__(self, *, n_streams: int, n_codebooks: int, codebook_size: int) -> None:
        if n_streams < 1 or n_codebooks < 1:
            raise UsageError(
                f"entropy coder {self.name}: {n_streams} streams of {n_codebooks} codebooks;"
                " expected at least 1 of each"
            )
        if not MIN_CODEBOOK_SIZE <= codebook_size <= MAX_CODEBOOK_SIZE:
            raise UsageError(
                f"entropy coder {self.name}: codebook size {codebook_size};"
                f" expected {MIN_CODEBOOK_SIZE} to {MAX_CODEBOOK_SIZE}"
            )
        self.n_streams = n_streams
        self.n_codebooks = n_codebooks
        self.codebook_size = codebook_size

    @abstractmethod
    def encode(self, codes: NDArray[np.integer], *, dependent: bool = False) -> bytes:
        """Return the payload of one packet.

        codes  [S, Q, F] of any integer type, in [0, codebook_size)
        """

    @abstractmethod
    def decode(
        self, payload: bytes, n_frames: int, *, dependent: bool = False
    ) -> NDArray[np.int64]:
        """Return the codes of one packet, [S, Q, F] with F = `n_frames`.

        Bytes that no encoder wrote raise PayloadError or give other codes: no entropy coder
        detects damage, which is what the container's checksums are for.
        """

    def decode_start(self, payload: bytes, n_frames: int, first: int) -> NDArray[np.int64]:
        """Return the codes of the first frames of a key packet, [S, Q, `first`].

        No dependent packet may follow. Raises what `decode` does of the frames that it decodes.
        """
        return self.decode(payload, n_frames)[:, :, :first]

    def encode_many(self, packets: Sequence[NDArray[np.integer]]) -> list[bytes]:
        """Return the payloads of key packets, as `encode` would one by one."""
        return [self.encode(codes) for codes in packets]

    @property
    def packets_at_once(self) -> int:
        """How many key packets `decode_many` takes side by side; more are no faster."""
        return 1

    def decode_many(
        self, payloads: Sequence[bytes], n_frames: Sequence[int]
    ) -> list[NDArray[np.int64] | PayloadError]:
        """Return the codes of key packets, as `decode` would one by one, or the error of one.

        No dependent packet may follow.
        """
        results: list[NDArray[np.int64] | PayloadError] = []
        for payload, count in zip(payloads, n_frames, strict=True):
            try:
                results.append(self.decode(payload, count))
            except PayloadError as error:
                results.append(error)
        return results

    def _check_codes(self, codes: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return `codes` in coding order, [F, S, Q], after checking type, shape and range."""
        wanted = f"expected integers [{self.n_streams}, {self.n_codebooks}, frames]"
        array = np.asarray(codes)
        if array.dtype.kind not in "iu":
            raise UsageError(f"codes: {wanted}, found type {array.dtype}")
        if array.ndim != 3 or array.shape[:2] != (self.n_streams, self.n_codebooks):
            raise UsageError(f"codes: {wanted}, found shape {list(array.shape)}")
        if array.size > MAX_CODES:
            raise UsageError(f"codes: at most {MAX_CODES} in a packet, found {array.size}")
        if array.size:
            low, high = int(array.min()), int(array.max())
            if low < 0 or high >= self.codebook_size:
                raise UsageError(
                    f"codes: expected 0 to {self.codebook_size - 1}, found {low} to {high}"
                )
        return array.transpose(2, 0, 1)  # [S, Q, F] -> [F, S, Q]

    def _check_n_frames(self, n_frames: int) -> int:
        """Return the number of codes in `n_frames` frames, after checking it against the limit."""
        if n_frames < 0:
            raise UsageError(f"n_frames: expected 0 or more, found {n_frames}")
        n_codes = n_frames * self.n_streams * self.n_codebooks
        if n_codes > MAX_CODES:
            raise LimitExceeded(f"packet announces {n_codes} codes; the limit is {MAX_CODES}")
        return n_codes
