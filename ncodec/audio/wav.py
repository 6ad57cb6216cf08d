"""Headers of WAV, RF64 and BW64, and how much of a chunked file or an Ogg is missing.

Nothing here knows about samples; readers and writers turn the bytes into arrays.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ncodec.audio.metadata import NOTHING, Metadata, storable
from ncodec.audio.stream import ForwardReader
from ncodec.audio.tag_files import id3_of, read_id3
from ncodec.audio.tags import joined
from ncodec.errors import AudioError
from ncodec.formats.audio_files import RAW_FORMATS

UNKNOWN_SIZE = 0xFFFFFFFF
_UNKNOWN_FROM = 1 << 62  # of 64 bits: a writer that did not know the length puts one as large
MOST_CHUNKS = 1000  # of a file, where tags are looked for
HEADER_LIMIT_BYTES = 64 << 20  # tags and pictures before the audio of a WAV from a pipe


# First bytes of a chunked file -> bytes before its first chunk, layout of a chunk's id and size,
# what chunks are padded to, and how many bytes of the size are id and size themselves.
_CHUNKED = {
    b"RIFF": (12, struct.Struct("<4sI"), 2, 0),
    b"RF64": (12, struct.Struct("<4sI"), 2, 0),
    b"BW64": (12, struct.Struct("<4sI"), 2, 0),
    b"FORM": (12, struct.Struct(">4sI"), 2, 0),  # AIFF
    b"caff": (8, struct.Struct(">4sq"), 1, 0),
    b"riff": (40, struct.Struct("<16sQ"), 8, 24),  # W64
}


def _chunks(reader: ForwardReader, magic: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield (id, bytes) of each chunk; the body may be read or left."""
    start, layout, padding, counted = _CHUNKED[magic]
    reader.skip(start - reader.position)
    while len(head := reader.read(layout.size)) == layout.size:
        name, size = layout.unpack(head)
        size = max(-1, size - counted)
        start = reader.position
        yield name[:4], size
        reader.skip(start + size + (-size - counted) % padding - reader.position)


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What stands before the samples of a WAV file of plain integers or floats."""

    sample_rate_hz: int
    n_channels: int
    sample_bytes: int  # 1 to 4 for integers, 4 or 8 for floats
    is_float: bool
    data_bytes: int | None  # None: not known when the header was written
    metadata: Metadata = NOTHING  # of LIST and id3 chunks

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.sample_bytes * self.n_channels

    @property
    def needs_id3(self) -> bool:
        """Whether tags and pictures are more than a LIST chunk holds."""
        tags = self.metadata.tags
        texts = joined(tags)
        plain = len(texts) == len(tags) and texts.keys() <= INFO_TAGS.keys()
        return bool(self.metadata.pictures) or not plain


def raw_header(raw_format: str, sample_rate_hz: int, n_channels: int) -> WavHeader:
    """Return what a WAV header would say of raw samples; their length is not known."""
    sample_bytes, is_float = RAW_FORMATS[raw_format]
    return WavHeader(sample_rate_hz, n_channels, sample_bytes, is_float, None)


INFO_TAGS = {
    "TITLE": b"INAM", "ARTIST": b"IART", "ALBUM": b"IPRD", "DATE": b"ICRD",
    "TRACKNUMBER": b"ITRK", "GENRE": b"IGNR", "COMMENT": b"ICMT", "COPYRIGHT": b"ICOP",
}  # fmt: skip
_OF_TAGS = (b"LIST", b"id3 ", b"ID3 ")  # chunks
_TAG_OF_INFO = {info: tag for tag, info in INFO_TAGS.items()}


def _is_placeholder(size: int) -> bool:
    """Whether a writer that did not know the length put `size`: ffmpeg all ones, sox 2 GiB."""
    return size < 0 or size >= 0xFFFFF000 or 0x7FFFF000 <= size <= 0x80000000


def read_wav_header(reader: ForwardReader) -> WavHeader | None:
    """Read up to the first sample of a WAV, RF64 or BW64 stream; None if it is something else."""
    magic = reader.read(4)
    if magic not in (b"RIFF", b"RF64", b"BW64"):
        return None
    riff_bytes, kind = int.from_bytes(reader.read(4), "little"), reader.read(4)
    if kind != b"WAVE":
        return None
    form: tuple[int, int, int, bool] | None = None
    found = NOTHING
    data_bytes = 0
    for name, size in _chunks(reader, magic):
        if name == b"data":
            if magic == b"RIFF" or size != UNKNOWN_SIZE:
                unfinished = size == 0 and (riff_bytes == 0 or _is_placeholder(riff_bytes))
                data_bytes = None if unfinished or _is_placeholder(size) else size
            elif data_bytes == 0 or data_bytes >= _UNKNOWN_FROM:
                data_bytes = None
            return WavHeader(*form, data_bytes, found) if form else None
        if reader.position + size > HEADER_LIMIT_BYTES:
            raise AudioError(f"{reader.name}: no audio in the first {HEADER_LIMIT_BYTES >> 20} MiB")
        if name == b"ds64":
            data_bytes = int.from_bytes(reader.read(size)[8:16], "little")
        elif name == b"fmt ":
            form = _parse_format(reader.read(size))
        elif name in _OF_TAGS:
            found = _with_chunk(found, name, reader.read(size))
    return None


def _parse_format(body: bytes) -> tuple[int, int, int, bool] | None:
    """Return rate, channels, bytes per sample, whether float; None for any other coding."""
    if len(body) < 16:
        return None
    coding, n_channels, rate, _, frame_bytes, _ = struct.unpack_from("<HHIIHH", body)
    if coding == 0xFFFE and len(body) >= 26:  # WAVE_FORMAT_EXTENSIBLE
        coding = int.from_bytes(body[24:26], "little")
    if n_channels == 0 or frame_bytes % n_channels:
        return None
    sample_bytes = frame_bytes // n_channels
    widths = {1: (1, 2, 3, 4), 3: (4, 8)}.get(coding, ())
    return (rate, n_channels, sample_bytes, coding == 3) if sample_bytes in widths else None


def _parse_info(body: bytes) -> Metadata:
    """Return the texts of a LIST chunk: UTF-8, or else of Windows, whose encoding nothing names."""
    tags: list[tuple[str, str]] = []
    at = 4
    while body[:4] == b"INFO" and at + 8 <= len(body):
        name, size = struct.unpack_from("<4sI", body, at)
        value = body[at + 8 : at + 8 + size].split(b"\0")[0]
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = value.decode("cp1252", "replace")
        if text and name in _TAG_OF_INFO:
            tags.append((_TAG_OF_INFO[name], text))
        at += 8 + size + size % 2
    return storable(tags)


def behind_audio(reader: ForwardReader) -> tuple[Metadata, str]:
    """Read what follows the audio of a WAV; return its tags, and what is odd, "" for nothing.

    At most as much is read as may come before the audio.
    """
    limit, found = reader.position + HEADER_LIMIT_BYTES, NOTHING
    while reader.position < limit and len(head := reader.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if not _is_name(name):
            odd = "what follows its audio is no chunk: the size of its audio may be too small"
            return found, odd
        if name == b"data":
            return found, "another data chunk follows its audio, and is left out"
        if name in _OF_TAGS and reader.position + size <= limit:
            found = _with_chunk(found, name, reader.read(size))
            size %= 2
        reader.skip(min(size + size % 2, limit - reader.position))
    return found, ""


def _with_chunk(found: Metadata, name: bytes, content: bytes) -> Metadata:
    """Return what was found, and what a LIST or id3 chunk adds."""
    if name == b"LIST":
        return found.merged(_parse_info(content))
    return read_id3(content).merged(found)


def _is_name(name: bytes) -> bool:
    return all(0x20 <= letter < 0x7F for letter in name)


def read_wav_metadata(file: BinaryIO) -> Metadata:
    """Return tags and pictures of a WAV, RF64 or BW64 file, wherever they stand."""
    file.seek(0)
    if file.read(4) not in (b"RIFF", b"RF64", b"BW64"):
        return NOTHING
    found = NOTHING
    at, long_bytes, n_bytes = 12, 0, file.seek(0, os.SEEK_END)
    for _ in range(MOST_CHUNKS):
        if at + 8 > n_bytes:
            break
        file.seek(at)
        name, size = struct.unpack("<4sI", file.read(8))
        if not _is_name(name):
            break  # samples: a size was wrong
        if name == b"ds64":
            long_bytes = int.from_bytes(file.read(16)[8:], "little")
        elif name in _OF_TAGS and size <= HEADER_LIMIT_BYTES:
            found = _with_chunk(found, name, file.read(size))
        elif name == b"data" and size == UNKNOWN_SIZE:
            size = long_bytes or n_bytes
        at += 8 + size + size % 2
    return found


def pack_wav_header(header: WavHeader, *, reserve: bool = False, rf64: bool = False) -> bytes:
    """Return the bytes before the first sample.

    reserve  leave room, so that the header for another length has as many bytes
    rf64     make it RF64, for 4 GiB and more; `reserve` does when it is needed
    """
    n_frames = UNKNOWN_SIZE
    if header.data_bytes is not None and header.data_bytes >= 1 << 63:
        raise AudioError(f"{header.data_bytes} bytes of samples are more than a WAV holds")
    if header.data_bytes is not None:
        n_frames = header.data_bytes // header.frame_bytes
    coding = 3 if header.is_float else 1
    byte_rate = header.sample_rate_hz * header.frame_bytes
    body = struct.pack(
        "<4sIHHIIHH", b"fmt ", 16, coding, header.n_channels, header.sample_rate_hz,
        min(byte_rate, UNKNOWN_SIZE), header.frame_bytes, 8 * header.sample_bytes,
    )  # fmt: skip
    if header.is_float:
        body += struct.pack("<4sII", b"fact", 4, min(n_frames, UNKNOWN_SIZE))
    texts = joined(header.metadata.tags)
    info = b"".join(_pack_info(INFO_TAGS[key], texts[key]) for key in texts if key in INFO_TAGS)
    if info:
        body += struct.pack("<4sI4s", b"LIST", 4 + len(info), b"INFO") + info
    metadata = header.metadata
    id3 = id3_of(metadata.tags, metadata.pictures) if header.needs_id3 else b""
    id3 += b"\0" * (len(id3) % 2)
    if id3:
        body += struct.pack("<4sI", b"id3 ", len(id3))
    if header.data_bytes is None and not reserve:
        return b"".join((struct.pack("<4sI4s", b"RIFF", UNKNOWN_SIZE, b"WAVE"), body, id3,
                         struct.pack("<4sI", b"data", UNKNOWN_SIZE)))  # fmt: skip
    data_bytes = header.data_bytes or 0
    room_bytes = 36 if reserve or rf64 else 0
    riff_bytes = 4 + room_bytes + len(body) + len(id3) + 8 + data_bytes + data_bytes % 2
    if rf64 or riff_bytes >= 0xFFFFF000:
        if not room_bytes:
            return pack_wav_header(header, rf64=True)
        sizes = struct.pack("<4sIQQQI", b"ds64", 28, riff_bytes, data_bytes, n_frames, 0)
        outer, riff_bytes, data_bytes = b"RF64", UNKNOWN_SIZE, UNKNOWN_SIZE
        body = body[:-8] + b"JUNK" + body[-4:] if id3 else body  # libsndfile would read no further
    else:
        sizes = struct.pack("<4sI28x", b"JUNK", 28) if room_bytes else b""
        outer = b"RIFF"
    return b"".join((struct.pack("<4sI4s", outer, riff_bytes, b"WAVE"), sizes, body, id3,
                     struct.pack("<4sI", b"data", data_bytes)))  # fmt: skip


def _pack_info(name: bytes, text: str) -> bytes:
    value = text.encode() + b"\0"
    return struct.pack("<4sI", name, len(value)) + value + b"\0" * (len(value) % 2)


def odd_wav(file: BinaryIO, n_bytes: int) -> str:
    """Return what is odd about what follows the audio of a WAV file, "" for any other."""
    file.seek(0)
    reader = ForwardReader(file, "")
    if reader.read(4) != b"RIFF":
        return ""
    for name, size in _chunks(reader, b"RIFF"):
        if name == b"data":
            start = reader.position + size + size % 2
            if _is_placeholder(size) or start >= n_bytes:
                return ""
            file.seek(start)
            return behind_audio(ForwardReader(file, ""))[1]
    return ""


def missing_bytes(file: BinaryIO, file_bytes: int) -> int:
    """Return how many bytes of audio a file's header announces beyond its end; 0 if none.

    Knows WAV, RF64, W64, AIFF and CAF, which libsndfile reads as far as they go without a word,
    and Ogg, of which it can only say whether the last page is whole. `file` is at its start.
    """
    reader = ForwardReader(file, "")
    magic = reader.read(4)
    if magic == b"OggS":
        return _missing_ogg_bytes(file, file_bytes)
    if magic not in _CHUNKED:
        return 0
    long_bytes = 0
    for name, size in _chunks(reader, magic):
        if name == b"ds64":
            long_bytes = int.from_bytes(reader.read(size)[8:16], "little")
        if name in (b"data", b"SSND"):
            if magic in (b"RF64", b"BW64") and size == UNKNOWN_SIZE:
                size = long_bytes
            elif magic in (b"RIFF", b"RF64", b"BW64", b"caff") and _is_placeholder(size):
                return 0
            if size >= _UNKNOWN_FROM:
                return 0
            return max(0, reader.position + size - file_bytes)
    return 0


def _missing_ogg_bytes(file: BinaryIO, file_bytes: int) -> int:
    tail_start = max(0, file_bytes - (1 << 17))  # a page has at most 65 307 bytes
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(b"OggS\0")
    if at < 0:
        return 0
    n_segments = tail[at + 26] if at + 26 < len(tail) else 0
    lengths = tail[at + 27 : at + 27 + n_segments]
    page_bytes = 27 + n_segments + sum(lengths)
    return max(0, at + page_bytes - len(tail))
