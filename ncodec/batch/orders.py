"""What workers are handed: short files, many at a time; long ones first, in stretches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ncodec.batch.names import suffix_of
from ncodec.batch.outcome import Item

MAX_FILES = 64
LARGE_BYTES = {False: 4 << 20, True: 64 << 10}  # of audio, of codes: about ten seconds of work
LOSSY = frozenset({".mp2", ".mp3", ".oga", ".ogg", ".opus"})
STRETCH_BYTES = {False: 32 << 20, True: 4 << 20}  # of audio, lossy if True; at least
"""That is minutes, beside which the ten seconds that a stretch takes on top do not count."""

PER_WORKER = 4  # orders, at least: so that none is left with much when the others are done


@dataclass(frozen=True, slots=True)
class Part:
    """What came of a stretch of a long file."""

    number: int  # of the stretch
    content: Any  # as the converter made it
    elapsed_s: float  # of a worker's time


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker has in hand at a time: files, a stretch of one, or all parts of one to join."""

    items: tuple[Item, ...]
    stretch: tuple[int, int] | None = None  # which of how many
    parts: tuple[Part, ...] = ()  # by their numbers

    @property
    def item(self) -> Item:
        """The one file of a stretch, or of parts."""
        return self.items[0]


def make_orders(items: Sequence[Item], n_workers: int, *, decode: bool) -> list[Order]:
    """Return all that is to be done, files in one order near each other in the tree."""
    total, parts = sum(item.size for item in items), PER_WORKER * max(1, n_workers)
    large = LARGE_BYTES[decode]
    share = total // parts + 1
    n_files = min(MAX_FILES, -(-len(items) // parts))
    alone = sorted((item for item in items if item.size >= large), key=lambda item: -item.size)
    small = [item for item in items if item.size < large]
    orders: list[Order] = []
    for item in alone:
        may_split = n_workers > 1 and not (decode or item.is_copy or item.known_sha256)
        least = STRETCH_BYTES[suffix_of(item.source) in LOSSY]
        n = -(-item.size // max(share, least)) if may_split else 1
        orders += [Order((item,), (k, n)) for k in range(n)] if n > 1 else [Order((item,))]
    return [*orders, *_grouped(small, min(large, share), n_files)]


def _grouped(items: Sequence[Item], n_bytes: int, n_files: int) -> Iterator[Order]:
    group: list[Item] = []
    size = 0
    for item in items:
        if group and (len(group) >= n_files or size + item.size > n_bytes):
            yield Order(tuple(group))
            group, size = [], 0
        group.append(item)
        size += item.size
    if group:
        yield Order(tuple(group))
