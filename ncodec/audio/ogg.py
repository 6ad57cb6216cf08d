"""Chained Ogg: several streams one after another in one file, of which libsndfile reads the first.

RFC 3533, section 4 (chaining), section 6 (pages).
"""

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from io import SEEK_END
from typing import BinaryIO

import numpy as np

from ncodec.audio.base import Audio
from ncodec.audio.readers import SndFile
from ncodec.audio.stream import copy_bytes, lend
from ncodec.errors import AudioError

_PAGE_HEADER_BYTES = 27
_STARTS = 2  # flag of a page that starts a stream

Link = tuple[int, int]  # bytes [start, end) of a file
TemporaryFile = Callable[[contextlib.ExitStack], AbstractContextManager[BinaryIO]]


def find_links(file: BinaryIO) -> list[Link]:
    """Return the links of an Ogg file: one, unless it is chained; none for any other file."""
    n_bytes = file.seek(0, SEEK_END)
    starts: list[int] = []
    at, began = 0, False  # began: the page before started a stream too, of the same link
    while at + _PAGE_HEADER_BYTES <= n_bytes:
        file.seek(at)
        head = file.read(_PAGE_HEADER_BYTES)
        if head[:4] != b"OggS":
            break  # junk, or a tag: what follows is no link
        begins = bool(head[5] & _STARTS)
        if begins and not began:
            starts.append(at)
        began = begins
        at += _PAGE_HEADER_BYTES + head[26] + sum(file.read(head[26]))
    return list(zip(starts, [*starts[1:], n_bytes], strict=True)) if starts else []


class ChainedOgg:
    """Decodes all links of a chained file as one; see `ncodec.audio.readers.AudioReader`."""

    subtype = ""  # links may differ

    def __init__(
        self, file: BinaryIO, links: Sequence[Link], name: str, temporary: TemporaryFile,
        stack: contextlib.ExitStack,
    ) -> None:  # fmt: skip
        self._parts: list[SndFile] = []
        for number, (start, end) in enumerate(links, 1):
            file.seek(start)
            with temporary(stack) as copy:
                copy_bytes(file, end - start, copy)
            part = SndFile(lend(copy, stack), f"{name}: link {number} of {len(links)}")
            stack.callback(part.close)
            self._parts.append(part)
        first = self._parts[0]
        self.sample_rate_hz, self.n_channels = first.sample_rate_hz, first.n_channels
        for number, part in enumerate(self._parts, 1):
            if (part.sample_rate_hz, part.n_channels) != (self.sample_rate_hz, self.n_channels):
                raise AudioError(
                    f"{name}: link {number} of a chained Ogg has {part.n_channels} channels at "
                    f"{part.sample_rate_hz} Hz, the first {self.n_channels} at "
                    f"{self.sample_rate_hz}: encode them one by one"
                )
        counts = [part.n_samples for part in self._parts]
        self.n_samples = None if None in counts else sum(count or 0 for count in counts)
        self.metadata, self.remarks = first.metadata, list[str]()
        self.problem = ""

    def read(self, n: int) -> Audio:
        """Return [T, C]; T < n only at the end, or if there is a problem."""
        blocks: list[Audio] = [np.zeros((0, self.n_channels), np.float32)]
        left = n
        while left and self._parts and not self.problem:
            part = self._parts[0]
            block = part.read(left)
            blocks.append(block)
            left -= len(block)
            if left:
                self.problem = part.problem
                self._parts.pop(0)
        return np.concatenate(blocks)

    def close(self) -> None:
        """Nothing is left to close: the links are closed with what they were copied to."""
