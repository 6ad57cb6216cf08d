"""Data sets of torch over .ncx files, of their own or in tar files: windows of so many frames.

Shapes: K codebooks of all streams, N frames of a window.
"""

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from ncodec.batch.data.layouts import Layout
from ncodec.batch.data.reading import in_groups
from ncodec.batch.data.sources import Clip, Kind, Source, find_clips, open_clip
from ncodec.bitstream.clips import packet_frames_of, parts_between
from ncodec.errors import UsageError

Codes = NDArray[np.int64]


class _Windows:
    """What both kinds of data sets share.

    sources   .ncx files, folders of them, tar files that hold them
    n_frames  N
    hop       frames from one window to the next of a file; by default N
    n_q       only the first so many codebooks of each stream
    pad       what fills the last window of a file; by default frames that fill no window are left
              out
    layout    how a window is laid out; see `Layout`. `pad` is laid out as if it were a code

    Attributes:
        kind: what all files share.
        layout: of a window.
    """

    def __init__(
        self, sources: Sequence[Source], n_frames: int, *, hop: int | None = None,
        n_q: int | None = None, pad: int | None = None, layout: str = "frames",
        offset: bool = False,
    ) -> None:  # fmt: skip
        self.n_frames, self.hop, self._pad = n_frames, n_frames if hop is None else hop, pad
        if self.n_frames < 1 or self.hop < 1:
            raise UsageError(f"windows of {self.n_frames} frames, every {self.hop}")
        if pad is not None and self.hop > self.n_frames:
            raise UsageError(f"a pad with windows of {self.n_frames} frames, every {self.hop}")
        if isinstance(sources, str):
            raise UsageError("sources must be a list of files and folders")
        self.clips = find_clips(sources, tars=True)
        self.kind = Kind.of(self.clips, n_q)
        header = self.kind.header
        self.layout = Layout(layout, self.kind.n_codebooks, header.codebook_size, offset)

    def n_windows(self, n_frames: int) -> int:
        """Return how many windows so many frames make."""
        if self._pad is not None:
            return -(-max(0, n_frames - self.n_frames) // self.hop) + 1 if n_frames else 0
        return max(0, (n_frames - self.n_frames) // self.hop + 1)

    def read(self, clip: Clip, start: int, end: int | None) -> Iterator[Codes]:
        """Yield the codes [K, F] of some frames of a file, packet by packet."""
        with open_clip(clip) as reader:
            self.kind.check(reader.header, clip.title)
            for part in parts_between(reader, start, end):
                yield self._stacked(part.codes)

    def read_whole(self, clips: Sequence[Clip]) -> Iterator[Iterator[Codes]]:
        """Yield the codes [K, F] of each file, packet by packet."""
        for clip, short in in_groups(clips, self.kind):
            if short is None or short.codes is None:
                yield self.read(clip, 0, None)
            else:
                yield map(self._stacked, short.codes)

    def _stacked(self, codes: Codes) -> Codes:
        """Return codes [S, Q, F] as [K, F]."""
        codes = codes[:, : self.kind.n_q]
        return codes.reshape(self.kind.n_codebooks, codes.shape[2])

    def tensor(self, codes: Codes) -> Tensor:
        """Return a window of at most N frames as a tensor."""
        lacking = self.n_frames - codes.shape[1]
        if lacking:
            codes = np.pad(codes, ((0, 0), (0, lacking)), constant_values=self._pad or 0)
        return torch.from_numpy(self.layout.arrange(codes).astype(np.int64))


class CodesWindows(Dataset[Tensor]):
    """All windows of .ncx files, by number: [K, N] int64, or what the layout makes of it.

    The arguments are those of `_Windows`. Every file's index is read at the start; of a window only
    the packets that hold it, when it is asked for. Raises FormatError for a file that cannot be
    read, NcodecError for files of several models or numbers of codebooks.
    """

    def __init__(
        self, sources: Sequence[Source], n_frames: int, *, hop: int | None = None,
        n_q: int | None = None, pad: int | None = None, layout: str = "frames",
        offset: bool = False,
    ) -> None:  # fmt: skip
        self._windows = _Windows(
            sources, n_frames, hop=hop, n_q=n_q, pad=pad, layout=layout, offset=offset
        )
        self.kind, self.layout = self._windows.kind, self._windows.layout
        counts: list[int] = []
        for clip in self._windows.clips:
            with open_clip(clip) as reader:
                self.kind.check(reader.header, clip.title)
                counts.append(self._windows.n_windows(sum(packet_frames_of(reader))))
        self._ends = list(accumulate(counts))

    def __len__(self) -> int:
        """Return the number of windows."""
        return self._ends[-1]

    def place(self, index: int) -> tuple[str, int]:
        """Return the name of the file that a window is of, and its first frame there."""
        number, window = self._find(index)
        return self._windows.clips[number].name, window * self._windows.hop

    def __getitem__(self, index: int) -> Tensor:
        """Return a window."""
        number, window = self._find(index)
        start = window * self._windows.hop
        clip, end = self._windows.clips[number], start + self._windows.n_frames
        return self._windows.tensor(np.concatenate([*self._windows.read(clip, start, end)], 1))

    def _find(self, index: int) -> tuple[int, int]:
        """Return the number of a window's file, and its number in the file."""
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        number = bisect_right(self._ends, index)
        return number, index - (self._ends[number - 1] if number else 0)


class CodesStream(IterableDataset[Tensor]):
    """The windows of .ncx files as they are read: every file once, front to back.

    seed        shuffles the files, and the windows among `buffer` of them; None: as they are
    buffer      windows that are held to be shuffled
    rank        of this process among `world_size` that share the files; by default those of
                torch.distributed, where it is in use

    The other arguments, and what is raised, are those of `CodesWindows`. The workers of a
    DataLoader share the files as well: each window comes exactly once of all of them. Numbers of
    windows may differ between ranks by those of some files.
    """

    def __init__(
        self, sources: Sequence[Source], n_frames: int, *, hop: int | None = None,
        n_q: int | None = None, pad: int | None = None, layout: str = "frames",
        offset: bool = False, seed: int | None = None, buffer: int = 1000,
        rank: int | None = None, world_size: int | None = None,
    ) -> None:  # fmt: skip
        self._windows = _Windows(
            sources, n_frames, hop=hop, n_q=n_q, pad=pad, layout=layout, offset=offset
        )
        self.kind, self.layout = self._windows.kind, self._windows.layout
        self._seed, self._buffer, self._epoch = seed, buffer, 0
        if (rank is None) != (world_size is None):
            raise UsageError("rank and world_size go together")
        self._place = (rank, world_size)

    def set_epoch(self, epoch: int) -> None:
        """Shuffle in another way; workers that persist take no notice."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the windows of this process, as far as they are this worker's."""
        clips = list(self._windows.clips)
        if self._seed is not None:  # the same for all, who then share them
            random.Random(f"{self._seed}/{self._epoch}").shuffle(clips)
        number, count = self._share()
        files = self._windows.read_whole(clips[number::count])
        windows = (one for packets in files for one in self._of(packets))
        if self._seed is None:
            yield from map(self._windows.tensor, windows)
            return
        chance, held = random.Random(f"{self._seed}/{self._epoch}/{number}"), list[Codes]()
        for window in windows:
            if len(held) < self._buffer:
                held.append(window)
                continue
            at = chance.randrange(len(held)) if held else 0
            given, held[at : at + 1] = (held[at], [window]) if held else (window, [])
            yield self._windows.tensor(given)
        chance.shuffle(held)
        yield from map(self._windows.tensor, held)

    def _share(self) -> tuple[int, int]:
        """Return which of how many shares is this worker's."""
        rank, world_size = self._place
        if rank is None or world_size is None:
            group = torch.distributed
            is_group = group.is_available() and group.is_initialized()
            rank, world_size = (group.get_rank(), group.get_world_size()) if is_group else (0, 1)
        worker = get_worker_info()
        number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return rank * count + number, world_size * count

    def _of(self, packets: Iterator[Codes]) -> Iterator[Codes]:
        """Yield the windows of a file, given its codes [K, F] packet by packet."""
        size, hop = self._windows.n_frames, self._windows.hop
        held = np.zeros((self.kind.n_codebooks, 0), np.int64)
        skip = n_frames = n_given = 0  # frames before the next window that are still to come
        for codes in packets:
            n_frames += codes.shape[1]
            held = np.concatenate([held, codes[:, skip:]], axis=1)
            skip = max(0, skip - codes.shape[1])
            first = 0
            while held.shape[1] - first >= size:
                yield held[:, first : first + size].copy()
                first, n_given = first + hop, n_given + 1
            skip += max(0, first - held.shape[1])
            held = held[:, first:]
        if n_given < self._windows.n_windows(n_frames):
            yield held
