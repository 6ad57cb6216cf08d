"""Writing .ncx files, also to pipes: nothing is ever gone back to."""

import io
from array import array

from ncodec.errors import FormatError, InvalidField, LimitExceeded
from ncodec.formats.ncx.header import Header
from ncodec.formats.ncx.packets import MAX_PACKETS, MAX_SCALES_PER_STREAM, Packet
from ncodec.formats.ncx.trailer import Trailer
from ncodec.formats.streams import Writable


class Writer:
    """Writes the header at once, then packets, then the trailer with `finish`.

    A file that is not finished is readable up to its last packet, but counts as truncated.
    """

    def __init__(self, stream: Writable, header: Header) -> None:
        self.header = header
        self.n_bytes = 0  # written so far
        self.payload_bytes = 0  # of these, payload
        self.finished = False
        self._stream = stream
        self._packet_bytes = array("L")
        self._packet_frames = array("L")
        self._write(header.pack())

    @property
    def overhead_bytes(self) -> int:
        """Bytes written that are not payload."""
        return self.n_bytes - self.payload_bytes

    def write_packet(
        self,
        n_frames: int,
        payload: bytes,
        *,
        dependent: bool = False,
        scales: tuple[float, ...] = (),
    ) -> Packet:
        """Write the next packet and return it; raise InvalidField or LimitExceeded unwritten."""
        self._check_open()
        number = len(self._packet_bytes)
        if number >= MAX_PACKETS:
            raise LimitExceeded(f"a file holds at most {MAX_PACKETS} packets")
        limit = self.header.n_streams * MAX_SCALES_PER_STREAM
        if len(scales) > limit:
            raise LimitExceeded(f"packet {number}: {len(scales)} scales, expected at most {limit}")
        try:
            packed = Packet(number, n_frames, payload, dependent, scales).pack()
        except FormatError as error:
            raise error.within(f"packet {number}") from None
        offset = self.n_bytes
        self._write(packed)
        self.payload_bytes += len(payload)
        self._packet_bytes.append(len(packed))
        self._packet_frames.append(n_frames)
        return Packet(number, n_frames, payload, dependent, scales, offset, len(packed))

    def finish(self, codes_digest: bytes, n_samples: int | None = None) -> Trailer:
        """Write the trailer and return it.

        codes_digest  what CodesDigest.digest() returned for all packets, 4 bytes
        n_samples     of the source; needed if the header does not know, else it must agree
        """
        self._check_open()
        known = self.header.n_samples
        if known is None and n_samples is None:
            raise InvalidField("n_samples is unknown to the header, so the trailer needs it")
        if known is not None and n_samples not in (None, known):
            raise InvalidField(f"n_samples is {n_samples}, but the header says {known}")
        sizes = tuple(self._packet_bytes), tuple(self._packet_frames)
        total = n_samples if known is None else None
        trailer = Trailer(len(sizes[0]), *sizes, codes_digest, total)
        packed = trailer.pack()
        offset = self.n_bytes
        self._write(packed)
        self.finished = True
        return Trailer(len(sizes[0]), *sizes, codes_digest, total, offset, len(packed))

    def _check_open(self) -> None:
        if self.finished:
            raise ValueError("the trailer has been written, nothing can follow it")

    def _write(self, packed: bytes) -> None:
        left = memoryview(packed)
        while left:
            n_bytes = self._stream.write(left)
            if n_bytes is None:
                if isinstance(self._stream, io.RawIOBase):
                    raise BlockingIOError("the stream is not blocking and takes no data")
                n_bytes = len(left)  # a stream that does not count takes all
            if n_bytes == 0:
                raise OSError("the stream takes no data")
            left = left[n_bytes:]
        self.n_bytes += len(packed)
