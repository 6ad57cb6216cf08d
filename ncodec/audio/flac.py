"""FLAC whose header announces too few samples, or that a tag follows: read whole, from a copy.

libsndfile reads as many samples as STREAMINFO announces, and takes what follows the last frame for
damage. RFC 9639: section 8.2 STREAMINFO, 9.1 frame headers, 9.3 frame footers.
"""

import hashlib
from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO

import numpy as np

from ncodec.audio.base import Audio
from ncodec.audio.stream import copy_bytes

_ID3V1_BYTES = 128
_TOTAL_AT = 21  # of STREAMINFO's 36 bits of samples: their first 4 end the byte here
_MOST_FRAME_BYTES = 1 << 18  # that are searched: 65535 samples of 2 channels in 16 bits
_MOST_CANDIDATES = 8  # whose checksum is taken: by chance, there is hardly one beside the frame
_RATES_HZ = dict(enumerate(
    (88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000), 1
))  # fmt: skip
_UNITS_HZ = {12: 1000, 13: 1, 14: 10}  # of a rate that follows
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
    rate_hz, last_rate_hz: by STREAMINFO, and by the last frame.
    n_bits: of a sample.
    md5: of all samples; zeros if the encoder did not know it.
    """

    audio_end: int
    announced: int
    n_samples: int
    has_tag: bool
    rate_hz: int
    last_rate_hz: int
    n_bits: int
    md5: bytes

    @property
    def fault(self) -> str:
        """Why it cannot be read by one reader, "" if it can."""
        if self.last_rate_hz == self.rate_hz:
            return ""
        return f"its sample rate changes, from {self.rate_hz} Hz to {self.last_rate_hz} Hz"

    def md5_check(self) -> "Md5Check | None":
        """Return what compares the audio with the MD5, None if that is not possible."""
        known = any(self.md5) and self.n_bits in (8, 16, 24)  # which 32-bit floats hold
        return Md5Check(self.md5, self.n_bits // 8) if known else None

    @property
    def needs_copy(self) -> bool:
        """Whether libsndfile would not read all of it."""
        return self.has_tag or 0 < self.announced < self.n_samples


class Md5Check:
    """Compares samples with the MD5 in STREAMINFO: that of their bytes, low ones first."""

    def __init__(self, md5: bytes, n_bytes: int) -> None:
        self._expected, self._n_bytes = md5, n_bytes
        self._hash = hashlib.md5(usedforsecurity=False)

    def update(self, block: Audio) -> None:
        """Take [T, C]."""
        whole = np.rint(block * np.float32(1 << (8 * self._n_bytes - 1))).astype("<i4")
        parts = np.ascontiguousarray(whole).reshape(-1, 1).view(np.uint8)[:, : self._n_bytes]
        self._hash.update(parts.tobytes())

    @property
    def differs(self) -> bool:
        """Whether they are others, once all were taken."""
        return self._hash.digest() != self._expected


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
    last = _last_frame(file.read(end - start), int.from_bytes(head[8:10], "big"))
    if last is None:
        return None
    n_samples, last_rate_hz = last
    numbers = int.from_bytes(head[18:26], "big")  # rate 20 bits, channels 3, bits 5, samples 36
    rate_hz = numbers >> 44
    return Flac(
        end, numbers & (1 << 36) - 1, n_samples, has_tag, rate_hz, last_rate_hz or rate_hz,
        (numbers >> 36 & 31) + 1, head[26:42],
    )  # fmt: skip


def copy_whole(file: BinaryIO, flac: Flac, copy: BinaryIO) -> None:
    """Copy a file up to the end of its audio, with the true number of samples in its header."""
    file.seek(0)
    head = bytearray(file.read(42))
    kept = int.from_bytes(head[_TOTAL_AT : _TOTAL_AT + 5], "big") >> 36 << 36
    head[_TOTAL_AT : _TOTAL_AT + 5] = (kept | flac.n_samples).to_bytes(5, "big")
    copy.write(head)
    copy_bytes(file, flac.audio_end - len(head), copy)


def _last_frame(tail: bytes, block: int) -> tuple[int, int] | None:
    """Return the samples up to the end of the frame that ends with `tail`, and its rate in Hz.

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


def _frame_end(head: bytes, block: int) -> tuple[int, int] | None:
    """Return the samples up to the end of the frame with this header, and its rate.

    None where it is none; the rate is 0 where STREAMINFO has it.
    """
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
    code = head[2] & 15
    n_more = {12: 1, 13: 2, 14: 2}.get(code, 0)
    rate_hz = int.from_bytes(head[at : at + n_more], "big") * _UNITS_HZ.get(code, 0)
    at += n_more
    if len(head) <= at or _crc(head[: at + 1], 0x07, 8):
        return None
    is_fixed = not head[1] & 1
    return (number * block if is_fixed else number) + n_samples, rate_hz or _RATES_HZ.get(code, 0)


def _crc(content: bytes, polynomial: int, width: int) -> int:
    """Return the CRC of content and its CRC: 0 where they fit."""
    value, top, mask = 0, 1 << (width - 1), (1 << width) - 1
    for byte in content:
        value ^= byte << (width - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
    return value
