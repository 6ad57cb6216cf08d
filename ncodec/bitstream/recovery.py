"""What is whole of a damaged file, and how much is lost in between."""

import contextlib
import os
from collections.abc import Iterator

from ncodec.bitstream.codes import Lost
from ncodec.bitstream.damaged_header import open_corrected
from ncodec.errors import FormatError, InvalidField
from ncodec.formats.ncx import Damage, Packet, read_index
from ncodec.formats.streams import Readable


class RecoveringReader:
    """A reader that goes on after damage, and corrects one damaged byte of the header.

    Attributes:
        reader: of the file.
        damage: that was met so far.
        n_samples: of the source, as far as header and index tell.
    """

    def __init__(self, stream: Readable, name: str) -> None:
        self.damage: list[Damage] = []
        self.reader = open_corrected(stream, name, self.damage.append)
        self._n_reported = len(self.damage)  # those before the packets that come next
        self._listed_frames: tuple[int, ...] = ()
        self.n_samples = self.reader.header.n_samples
        self._read_index()

    def items(self, n_frames: int | None) -> Iterator[Packet | Lost]:
        """Yield the packets that are whole, and what is lost.

        How long lost packets were, the index tells; without one they are taken to be as long as the
        first that is whole. `n_frames` of all packets, if it is known, are neither missed nor
        exceeded.
        """
        #   packet      0   1   -   -   4  (5: cut off)
        #   yielded     0   1   Lost    4   Lost
        #                       |           |
        #       numbers 2 and 3 are missing |
        #                         n_frames less those so far
        #
        # Only numbers tell that packets are missing: how much they held is listed in the index, if
        # that is whole. The last loss has no packet after it, and shows in `n_frames` alone.
        listed = self._listed_frames
        usual = listed[0] if listed else 0
        expected = done = 0
        for packet in self.reader:
            usual = usual or packet.n_frames
            missing = listed[expected : packet.number] if listed else ()
            lost = sum(missing) if listed else usual * (packet.number - expected)
            # A guess must not shift this packet beyond the end. One that does not fit even without
            # a loss before it is itself damage that no checksum shows.
            if n_frames is not None:
                lost = min(lost, n_frames - done - packet.n_frames)
                if lost < 0:
                    self._refuse(packet, n_frames)
                    break
            if lost:
                yield Lost(lost, self._error())
            self._n_reported = len(self.damage)
            yield packet
            done += lost + packet.n_frames
            expected = packet.number + 1
        if n_frames is not None and done < n_frames:
            yield Lost(n_frames - done, self._error())

    def _refuse(self, packet: Packet, n_frames: int) -> None:
        """Note that a packet, and what follows it, is more than there should be."""
        error = InvalidField(
            f"{self.reader.name}: packet {packet.number} at byte {packet.offset}: beyond the "
            f"{n_frames} frames that the file should have"
        )
        self.damage.append(Damage(packet.offset, packet.n_bytes, error, range(0)))

    def _error(self) -> FormatError:
        """Return why something is missing."""
        if len(self.damage) > self._n_reported:
            return self.damage[-1].error
        return FormatError(f"{self.reader.name}: packets are missing")

    def _read_index(self) -> None:
        """Learn the frames of every packet, if the file can seek and has an index."""
        stream = self.reader.seekable
        if stream is None:
            return
        place = stream.seek(0, os.SEEK_CUR)
        with contextlib.suppress(FormatError):
            trailer = read_index(stream, self.reader.name)
            self._listed_frames = trailer.packet_frames
            self.n_samples = trailer.n_samples if self.n_samples is None else self.n_samples
        stream.seek(place)
