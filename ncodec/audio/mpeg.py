"""MP3, and its layers I and II, that do not say how long they are.

libsndfile reads such a file as far as the bitrate of its first frame lets it guess, so with a
variable bitrate it may stop too early, without a word. After a silent first frame of the lowest
bitrate its guess is always too high, and it reads to the end.
"""

import os
import re
import shutil
from dataclasses import dataclass
from typing import BinaryIO

_UNCOUNTED_FRAMES = 2
_CRC_AT = 154  # of LAME's tag, from Xing or Info on; 0 where an encoder takes none
_SEARCH_BYTES = 1 << 16  # how much junk before the first frame libsndfile accepts
_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KBIT_PER_S = {  # (MPEG 1 rather than 2 or 2.5, layer) -> bitrate by index - 1
    (True, 1): tuple(range(32, 449, 32)),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): _LOW,
    (False, 3): _LOW,
}
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_HEADER = re.compile(  # sync and version, layer, neither free nor forbidden bitrate, sample rate
    rb"(?s)(?=(\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x10-\x1b\x20-\x2b\x30-\x3b\x40-\x4b\x50-\x5b"
    rb"\x60-\x6b\x70-\x7b\x80-\x8b\x90-\x9b\xa0-\xab\xb0-\xbb\xc0-\xcb\xd0-\xdb\xe0-\xeb].))"
)


@dataclass(frozen=True, slots=True)
class Frame:
    """The header of a frame: four bytes."""

    header: bytes

    @property
    def is_mpeg_1(self) -> bool:
        """Whether it is MPEG 1, rather than 2 or 2.5."""
        return self.header[1] >> 3 & 3 == 3

    @property
    def layer(self) -> int:
        """1 to 3."""
        return 4 - (self.header[1] >> 1 & 3)

    @property
    def is_mono(self) -> bool:
        """Whether it has one channel, not two."""
        return self.header[3] >> 6 == 3

    @property
    def n_samples(self) -> int:
        """Samples per channel."""
        if self.layer == 1:
            return 384
        return 1152 if self.is_mpeg_1 or self.layer == 2 else 576

    @property
    def n_bytes(self) -> int:
        """Bytes, with the header."""
        bits_per_s = 1000 * _KBIT_PER_S[self.is_mpeg_1, self.layer][(self.header[2] >> 4) - 1]
        rate_hz = _RATES_HZ[self.header[1] >> 3 & 3][self.header[2] >> 2 & 3]
        slot_bytes = 4 if self.layer == 1 else 1
        n_slots = self.n_samples * bits_per_s // (8 * slot_bytes * rate_hz)
        return slot_bytes * (n_slots + (self.header[2] >> 1 & 1))

    def continues_as(self, other: bytes) -> bool:
        """Whether `other` starts a frame of the same version, layer, rate and channels."""
        return (
            _HEADER.match(other) is not None
            and (self.header[1] ^ other[1]) & 0x1E == 0
            and (self.header[2] ^ other[2]) & 0x0C == 0
            and self.is_mono == (other[3] >> 6 == 3)
        )

    def silence(self) -> bytes:
        """Return a frame of the same kind with nothing in it, of the lowest bitrate."""
        _, kind, rate, mode = self.header
        silent = Frame(bytes((0xFF, kind | 1, rate & 0x0C | 0x10, mode)))
        return silent.header.ljust(silent.n_bytes, b"\0")


@dataclass(frozen=True, slots=True)
class Start:
    """Where the audio of an MPEG file starts.

    has_length: whether the first frame only says how many follow, and nothing comes after those.
    is_exact: whether a checksum shows that the length is what the encoder wrote, to the sample.
    remarks: what is odd about it.
    """

    tags_bytes: int
    audio_at: int
    frame: Frame
    has_length: bool
    is_exact: bool = False
    remarks: tuple[str, ...] = ()


def find_start(file: BinaryIO) -> Start | None:
    """Return where the audio starts; None if no two frames follow each other near the start."""
    tags_bytes = _skip_tags(file, 0)
    found = find_frame(file, tags_bytes)
    if found is None:
        return None
    at, frame = found
    file.seek(tags_bytes)
    junk = file.read(at - tags_bytes).strip(b"\0")
    remarks = (f"{len(junk)} bytes before its first frame are no audio",) if junk else ()
    header, content = file.read(4), file.read(frame.n_bytes - 4)
    side_bytes = (17 if frame.is_mono else 32) if frame.is_mpeg_1 else (9 if frame.is_mono else 17)
    info = content[side_bytes : side_bytes + 16]
    if frame.layer != 3 or info[:4] not in (b"Xing", b"Info"):
        return Start(tags_bytes, at, frame, False, remarks=remarks)
    has_length = info[7] & 1 == 1 and any(info[8:12])
    if has_length and info[7] & 2:
        end = at + int.from_bytes(info[12:16], "big")  # of this frame and those it counts
        has_length = end <= at or find_frame(file, _skip_tags(file, end)) is None
    if has_length:
        n_frames = int.from_bytes(info[8:12], "big")
        has_length = not _has_more(file, at + frame.n_bytes, frame, n_frames)
    covered = side_bytes + _CRC_AT
    stored = int.from_bytes(content[covered : covered + 2], "big")
    is_exact = stored != 0 and stored == _crc(header + content[:covered])
    if stored != 0 and not is_exact:
        has_length = False
        remarks += ("the frame with its length is damaged: an encoder's delay is not left out",)
    audio_at = at if has_length else at + frame.n_bytes
    return Start(tags_bytes, audio_at, frame, has_length, has_length and is_exact, remarks)


def _crc(content: bytes) -> int:
    """Return CRC-16/ARC, as LAME takes it of its tag."""
    value = 0
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


def find_frame(file: BinaryIO, at: int) -> tuple[int, Frame] | None:
    """Return the place of the first frame after `at` that another one follows, and the frame."""
    file.seek(at)
    part = file.read(_SEARCH_BYTES)
    for match in _HEADER.finditer(part):
        frame = Frame(match[1])
        file.seek(at + match.start() + frame.n_bytes)
        if frame.continues_as(file.read(4)):
            return at + match.start(), frame
    return None


def _follow(file: BinaryIO, at: int, first: Frame, most: int) -> tuple[int, int]:
    """Return how many frames follow each other from `at` on, up to `most`, and where they end.

    That is beyond the file's end if the last of them is cut off; it is counted.
    """
    end = file.seek(0, os.SEEK_END)
    sizes: dict[bytes, int] = {}  # by a header; few differ
    part, part_at = b"", at
    for number in range(most):
        if at + 4 > part_at + len(part):
            file.seek(at)
            part, part_at = file.read(1 << 20), at
        header = part[at - part_at : at - part_at + 4]
        size = sizes.get(header)
        if size is None:
            if not first.continues_as(header):
                return number, at
            size = sizes[header] = Frame(header).n_bytes
        at += size
        if at > end:
            return number + 1, at
    return most, at


def _has_more(file: BinaryIO, at: int, first: Frame, n_frames: int) -> bool:
    """Whether more than `n_frames` whole frames follow each other from `at` on.

    One or two more are not counted: encoders differ in whether they count the last.
    """
    wanted = n_frames + _UNCOUNTED_FRAMES + 1
    found, end = _follow(file, at, first, wanted)
    return found == wanted and end <= file.seek(0, os.SEEK_END)


def is_cut(file: BinaryIO, start: Start) -> bool:
    """Whether the last frame is not all there, in a file that does not say how long it is."""
    _, end = _follow(file, start.audio_at, start.frame, 1 << 31)
    return end > file.seek(0, os.SEEK_END)


def copy_behind_silence(file: BinaryIO, start: Start, copy: BinaryIO) -> int:
    """Copy `file` for libsndfile to read it whole; return how many samples to drop then."""
    file.seek(0)
    copy.write(file.read(start.tags_bytes))
    # An empty tag: its bytes raise the guess further.
    n_bytes = file.seek(0, os.SEEK_END) // 64 + 1024
    sizes = bytes(n_bytes >> shift & 127 for shift in (21, 14, 7, 0))
    copy.write(b"ID3\x03\0\0" + sizes + bytes(n_bytes) + start.frame.silence())
    file.seek(start.audio_at)
    shutil.copyfileobj(file, copy, 1 << 20)
    _drop_ape_tag(copy)
    copy.flush()
    return start.frame.n_samples


def _drop_ape_tag(file: BinaryIO) -> None:
    """Take an APE tag off the end, which libsndfile calls an error; an ID3v1 tag stays there."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 128))
    id3v1 = file.read()
    if id3v1[:3] != b"TAG":
        id3v1 = b""
    file.seek(max(0, end - len(id3v1) - 32))
    footer = file.read(32)
    if footer[:8] == b"APETAGEX":
        header_bytes = footer[23] >> 7 << 5
        tag_bytes = int.from_bytes(footer[12:16], "little") + header_bytes
        file.truncate(max(0, end - len(id3v1) - tag_bytes))
        file.seek(0, os.SEEK_END)
        file.write(id3v1)


def _skip_tags(file: BinaryIO, at: int) -> int:
    """Return where the ID3v2 tags that start at `at` end."""
    file.seek(at)
    while len(head := file.read(10)) == 10 and head[:3] == b"ID3":
        shifts = zip(head[6:], (21, 14, 7, 0), strict=True)
        body_bytes = sum((byte & 127) << shift for byte, shift in shifts)
        at += 10 + body_bytes + (10 if head[5] & 16 else 0)  # 10: a footer
        file.seek(at)
    return at
