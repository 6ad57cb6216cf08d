"""FLAC whose header announces too few samples, or that a tag follows: read whole, from a copy.

libsndfile reads as many samples as STREAMINFO announces, and takes what follows the last frame for
damage. RFC 9639: section 8.2 STREAMINFO, 9.1 frame headers, 9.3 frame footers.
"""

from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO

from ncodec.audio.stream import copy_bytes

_ID3V1_BYTES = 128
_TOTAL_AT = 21  # of STREAMINFO's 36 bits of samples: their first 4 end the byte here
_MOST_FRAME_BYTES = 1 << 18  # that are searched: 65535 samples of 2 channels in 16 bits
_MOST_CANDIDATES = 8  # whose checksum is taken: by chance, there is hardly one beside the frame
_BLOCKS = {  # samples by their code in a frame's header
    1: 192,
    **{code: 144 << code for code in range(2, 6)},
    **{code: 1 << code for code in range(8, 16)},
}


@dataclass(frozen=True, slots=True)
class Flac:
    """What a file says and holds.

    audio_end: byte after the last frame.
    announced: samples per channel, by STREAMINFO; 0 for unknown.
    n_samples: up to the end of the last frame.
    has_tag: an ID3v1 tag follows.
    """

    audio_end: int
    announced: int
    n_samples: int
    has_tag: bool

    @property
    def needs_copy(self) -> bool:
        """Whether libsndfile would not read all of it."""
        return self.has_tag or 0 < self.announced < self.n_samples


def inspect_flac(file: BinaryIO) -> Flac | None:
    """Return what a FLAC file holds; None for any other, and where no last frame is found."""
    n_bytes = file.seek(0, SEEK_END)
    file.seek(0)
    head = file.read(42)
    if head[:4] != b"fLaC" or len(head) < 42:
        return None
    file.seek(max(0, n_bytes - _ID3V1_BYTES))
    has_tag = file.read(3) == b"TAG"
    end = n_bytes - _ID3V1_BYTES * has_tag
    start = max(42, end - _MOST_FRAME_BYTES)
    file.seek(start)
    n_samples = _last_sample(file.read(end - start), int.from_bytes(head[8:10], "big"))
    announced = int.from_bytes(head[_TOTAL_AT : _TOTAL_AT + 5], "big") & (1 << 36) - 1
    return None if n_samples is None else Flac(end, announced, n_samples, has_tag)


def copy_whole(file: BinaryIO, flac: Flac, copy: BinaryIO) -> None:
    """Copy a file up to the end of its audio, with the true number of samples in its header."""
    file.seek(0)
    head = bytearray(file.read(42))
    kept = int.from_bytes(head[_TOTAL_AT : _TOTAL_AT + 5], "big") >> 36 << 36
    head[_TOTAL_AT : _TOTAL_AT + 5] = (kept | flac.n_samples).to_bytes(5, "big")
    copy.write(head)
    copy_bytes(file, flac.audio_end - len(head), copy)


def _last_sample(tail: bytes, block: int) -> int | None:
    """Return the samples up to the end of the frame that ends with `tail`.

    block  samples of all frames but the last, where their number is fixed
    """
    at, left = len(tail), _MOST_CANDIDATES
    while left and (at := tail.rfind(b"\xff", 0, at)) >= 0:
        end = _frame_end(tail[at : at + 16], block)
        if end is None:
            continue
        if _crc(tail[at:], 0x8005, 16) == 0:
            return end
        left -= 1
    return None


def _frame_end(head: bytes, block: int) -> int | None:
    """Return the samples up to the end of the frame with this header; None where it is none."""
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[2] >> 4 == 0:
        return None
    n_more = 0  # bytes of the number, after its first: UTF-8, to 36 bits
    while n_more < 7 and head[4] << n_more & 0x80:
        n_more += 1
    number = head[4] & (0x7F >> n_more)
    n_more = max(0, n_more - 1)
    for byte in head[5 : 5 + n_more]:
        number = number << 6 | byte & 0x3F
    at = 5 + n_more
    code = head[2] >> 4
    n_samples = _BLOCKS.get(code, 0)
    if code in (6, 7):
        n_samples = int.from_bytes(head[at : at + code - 5], "big") + 1
        at += code - 5
    at += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if len(head) <= at or _crc(head[: at + 1], 0x07, 8):
        return None
    is_fixed = not head[1] & 1
    return (number * block if is_fixed else number) + n_samples


def _crc(content: bytes, polynomial: int, width: int) -> int:
    """Return the CRC of content and its CRC: 0 where they fit."""
    value, top, mask = 0, 1 << (width - 1), (1 << width) - 1
    for byte in content:
        value ^= byte << (width - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
    return value
