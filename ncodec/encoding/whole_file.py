"""A whole .ncx file of a source, with its length in the header wherever that can be.

Only then are its packets decoded many at a time.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from ncodec.audio import Source
from ncodec.bitstream.codes import CodesWriter
from ncodec.encoding.encoder import Encoding
from ncodec.formats.ncx import Reader, Writer
from ncodec.formats.streams import Writable

_MEMORY_BYTES = 1 << 24  # of codes that wait


@contextmanager
def waiting_file() -> Iterator[BinaryIO]:
    """Give a file for codes that wait: in memory, or on the disk where they are many."""
    with tempfile.SpooledTemporaryFile(_MEMORY_BYTES) as file:
        yield cast("BinaryIO", file)


def write_whole(
    encoding: Encoding, source: Source, sink: Writable,
    on_progress: Callable[[int], None] = lambda n_samples: None,
) -> Writer:  # fmt: skip
    """Encode a source into a file, and return what wrote it.

    A source that does not know its length, such as MP3, or what tags follow, such as WAV from a
    pipe, is coded before the header is written, unless `sink` cannot seek: someone may be listening
    there.
    """
    header = encoding.header(source.n_samples, source.metadata)
    can_seek: Callable[[], bool] = getattr(sink, "seekable", lambda: False)
    if (source.n_samples is not None and source.has_metadata) or not can_seek():
        writer = Writer(sink, header)
        encoding.write(source, CodesWriter(writer), on_progress)
        encoding.leave_out_late(header, source.metadata)
        return writer
    with waiting_file() as waiting:
        encoding.write(source, CodesWriter(Writer(waiting, header)), on_progress)
        waiting.seek(0)
        reader = Reader(waiting, source.name)
        writer = Writer(sink, encoding.header(encoding.n_samples, source.metadata))
        for packet in reader:
            writer.write_packet(packet.n_frames, packet.payload, scales=packet.scales)
        writer.finish(reader.trailer.codes_digest if reader.trailer else b"", encoding.n_samples)
        return writer
