"""Files that are encoded together, as tracks that follow each other.

What one file holds depends on its neighbours. So all of an album is done again where one of its
files is, and what is kept back, such as an output that is not ours, ends an album.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from ncodec.batch.state import Record
from ncodec.batch.work_units import Item

_DIGITS = re.compile(r"(\d+)")
ALONE = "encoded without its neighbours: a worker was lost with them"


def track_order(path: str) -> tuple[object, ...]:
    """What to sort files by: folders, then names, in which 2 is before 10."""
    folder, _, name = path.rpartition("/")
    parts = _DIGITS.split(name.casefold())
    return folder, [(int(part), "") if part.isdigit() else (-1, part) for part in parts], name


def gather(
    items: Iterable[Item], done: Iterable[Record], breaks: Collection[str]
) -> tuple[list[Item], list[Record]]:
    """Return what is to be done, with numbers of albums, and the albums that are done already.

    breaks  paths of sources that are left out
    """
    files: dict[str, Item | Record | None] = dict.fromkeys(breaks)
    copies = [item for item in items if item.is_copy]
    files |= {one.source: one for one in (*items, *done)}
    for copy in copies:
        del files[copy.source]
    to_do, left = list(copies), list[Record]()
    for number, album in enumerate(_albums(files)):
        records = [one for one in album if isinstance(one, Record)]
        if len(records) == len(album):
            left += records
        else:
            to_do += [replace(_item_of(one), album=number) for one in album]
    return to_do, left


def _albums(files: dict[str, Item | Record | None]) -> Iterator[list[Item | Record]]:
    album: list[Item | Record] = []
    folder = ""
    for path in sorted(files, key=track_order):
        one, its_folder = files[path], path.rpartition("/")[0]
        if album and (one is None or its_folder != folder):
            yield album
            album = []
        folder = its_folder
        if one is not None:
            album.append(one)
    if album:
        yield album


def _item_of(one: Item | Record) -> Item:
    if isinstance(one, Item):
        return one
    return Item(one.source, one.target, one.size, one.mtime_ns)
