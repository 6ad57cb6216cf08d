"""Files to convert, their outcomes, and the units of work that workers are given.

an album              one unit, if its tracks are to follow each other without a gap
many short files      one unit: up to MAX_FILES neighbours in the tree
a long file           one unit, the longest first
a very long WAV, ...  a unit for each segment; when all are done, one more that joins them
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ncodec.batch.names import suffix_of
from ncodec.formats.audio_files import LOSSY

MAX_FILES = 64
LARGE_BYTES = {False: 4 << 20, True: 64 << 10}  # of audio, of codes: about ten seconds of work
SEGMENT_BYTES = {False: 32 << 20, True: 4 << 20}  # of audio, lossy if True; at least
"""Minutes of audio: the ten seconds that each segment encodes twice are small next to them."""

PER_WORKER = 4  # units, at least: so that none is left with much when the others are done

Status = Literal["done", "skipped", "copied", "failed"]


@dataclass(frozen=True, slots=True)
class Item:
    """A file to be converted or copied."""

    source: str  # below the source's folder
    target: str  # below the target's folder
    size: int
    mtime_ns: int | None
    is_copy: bool = False
    known_sha256: str = ""  # of what the target was made of; with the same there is nothing to do,
    known_seconds: float = 0.0  # and these are its audio
    known_target_size: int = 0  # and its bytes
    album: int | None = None  # number of the files that it is encoded with


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one file."""

    source: str
    target: str
    status: Status
    error: str = ""  # why it failed, without its name
    seconds: float = 0.0  # of audio
    n_bytes_in: int = 0
    n_bytes_out: int = 0
    elapsed_s: float = 0.0  # of a worker's time; of files that were done together, its share
    sha256: str = ""  # of the source, if it was read
    remarks: tuple[str, ...] = ()  # what the user may want to know of a file that was made
    model_id: str = ""  # that coded it
    n_coded_channels: int = 0  # 1 where all channels are equal


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """The result of a segment of a long file."""

    number: int  # of the segment
    content: Any  # as the converter made it
    elapsed_s: float  # of a worker's time


@dataclass(frozen=True, slots=True)
class WorkUnit:
    """What a worker does at a time: files, a segment of one, or joining the segments of one."""

    items: tuple[Item, ...]
    segment: tuple[int, int] | None = None  # which of how many
    results: tuple[SegmentResult, ...] = ()  # of all segments, by their numbers: to be joined
    is_album: bool = False  # tracks in their order

    @property
    def item(self) -> Item:
        """The one file of a segment, or whose segments are joined."""
        return self.items[0]


def make_work_units(items: Sequence[Item], n_workers: int, *, decode: bool) -> list[WorkUnit]:
    """Return all that is to be done, files in one unit near each other in the tree."""
    albums: dict[int, list[Item]] = {}
    for item in items:
        if item.album is not None:
            albums.setdefault(item.album, []).append(item)
    together = [WorkUnit(tuple(album), is_album=True) for album in albums.values()]
    together.sort(key=lambda unit: -sum(item.size for item in unit.items))
    items = [item for item in items if item.album is None]
    total, n_units = sum(item.size for item in items), PER_WORKER * max(1, n_workers)
    large = LARGE_BYTES[decode]
    share = total // n_units + 1
    n_files = min(MAX_FILES, -(-len(items) // n_units))
    alone = sorted((item for item in items if item.size >= large), key=lambda item: -item.size)
    small = [item for item in items if item.size < large]
    units: list[WorkUnit] = []
    for item in alone:
        may_split = n_workers > 1 and not (decode or item.is_copy or item.known_sha256)
        least = SEGMENT_BYTES[suffix_of(item.source) in LOSSY]
        n = -(-item.size // max(share, least)) if may_split else 1
        units += [WorkUnit((item,), (k, n)) for k in range(n)] if n > 1 else [WorkUnit((item,))]
    return [*together, *units, *_grouped(small, min(large, share), n_files)]


def _grouped(items: Sequence[Item], n_bytes: int, n_files: int) -> Iterator[WorkUnit]:
    group: list[Item] = []
    size = 0
    for item in items:
        if group and (len(group) >= n_files or size + item.size > n_bytes):
            yield WorkUnit(tuple(group))
            group, size = [], 0
        group.append(item)
        size += item.size
    if group:
        yield WorkUnit(tuple(group))
