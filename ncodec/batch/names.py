"""Which files are audio, which are wanted, and what their outputs are called."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from ncodec.formats.audio_files import readable

CODED = ".ncx"


def suffix_of(path: str) -> str:
    """Return the suffix of a path in lower case, "" if its name has none."""
    name = path.rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return (dot + suffix).lower() if stem else ""


def is_source(path: str, *, decode: bool) -> bool:
    """Whether a file is one to be converted."""
    if path.rpartition("/")[2].startswith("._"):  # metadata of macOS, not audio
        return False
    suffix = suffix_of(path)
    return suffix == CODED if decode else suffix in readable()


def is_wanted(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether a file matches a pattern of `include`, if there is any, and none of `exclude`.

    A pattern is one of fnmatch, of the path or name of the file or of a folder that it is in; its
    `*` matches `/` too.
    """
    parts = path.split("/")
    named = {*parts, *("/".join(parts[:n]) for n in range(1, len(parts) + 1))}

    def matches(pattern: str) -> bool:
        return any(fnmatchcase(name, pattern) for name in named)

    if any(matches(pattern) for pattern in exclude):
        return False
    return not include or any(matches(pattern) for pattern in include)


def targets_for(
    sources: Iterable[str], others: Iterable[str], suffix: str
) -> Mapping[str, str | None]:
    """Return the output of each source; None where no name is free.

    others  names of the tree that are taken, whether or not they are copied
    suffix  of the outputs

    song.flac becomes song.ncx, song.ncx becomes song.flac, and song.flac.ncx too. Where two would
    become one, also by case alone, they keep their whole names: song.flac.ncx, song.wav.ncx.
    """
    sources = list(sources)
    taken = {_key(other) for other in others}
    chosen = {source: _short(source, suffix) for source in sources}
    while True:
        by_key: dict[str, list[str]] = {}
        for source in sources:
            by_key.setdefault(_key(chosen[source]), []).append(source)
        clashing = [
            source
            for key, group in by_key.items()
            if len(group) > 1 or key in taken
            for source in group
            if chosen[source] != source + suffix
        ]
        if not clashing:
            break
        for source in clashing:
            chosen[source] = source + suffix
    free = {source for source in sources if _key(chosen[source]) not in taken}
    return {source: chosen[source] if source in free else None for source in sources}


def _short(source: str, suffix: str) -> str:
    stem = source[: -len(suffix_of(source))]
    return stem if suffix_of(source) == CODED and suffix_of(stem) == suffix else stem + suffix


def _key(path: str) -> str:
    """What two names share that are one on some systems."""
    return unicodedata.normalize("NFC", path).casefold()
