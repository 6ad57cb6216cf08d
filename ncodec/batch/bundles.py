"""How files are handed out: short ones many at a time, long ones first."""

from collections.abc import Iterator, Sequence

from ncodec.batch.outcome import Item

Bundle = tuple[Item, ...]

MAX_FILES = 64
LARGE_BYTES = {False: 4 << 20, True: 64 << 10}  # of audio, of codes: about ten seconds of work
PER_WORKER = 4  # bundles, at least: so that none is left with much when the others are done


def make_bundles(items: Sequence[Item], n_workers: int, *, decode: bool) -> list[Bundle]:
    """Return all items, those in one bundle near each other in the tree."""
    total, parts = sum(item.size for item in items), PER_WORKER * max(1, n_workers)
    large = LARGE_BYTES[decode]
    at_once = min(large, total // parts + 1)
    n_files = min(MAX_FILES, -(-len(items) // parts))
    alone = sorted((item for item in items if item.size >= large), key=lambda item: -item.size)
    small = [item for item in items if item.size < large]
    return [(item,) for item in alone] + [*_grouped(small, at_once, n_files)]


def _grouped(items: Sequence[Item], n_bytes: int, n_files: int) -> Iterator[Bundle]:
    group: list[Item] = []
    size = 0
    for item in items:
        if group and (len(group) >= n_files or size + item.size > n_bytes):
            yield tuple(group)
            group, size = [], 0
        group.append(item)
        size += item.size
    if group:
        yield tuple(group)
