"""Text tags of audio files: those that libsndfile knows, and with mutagen all the others.

Keys are those of Vorbis comments, in upper case. ID3 frames have them by the table below. Pictures
and the name of the encoder are not kept.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Pairs = tuple[tuple[str, str], ...]  # a key may occur more than once

_LEFT = frozenset({"METADATA_BLOCK_PICTURE", "COVERART", "COVERARTMIME", "ENCODER"})
_FRAME_OF = {
    "TITLE": "TIT2", "SUBTITLE": "TIT3", "GROUPING": "TIT1", "ARTIST": "TPE1",
    "ALBUMARTIST": "TPE2", "CONDUCTOR": "TPE3", "ARRANGER": "TPE4", "COMPOSER": "TCOM",
    "LYRICIST": "TEXT", "ALBUM": "TALB", "TRACKNUMBER": "TRCK", "DISCNUMBER": "TPOS",
    "DATE": "TDRC", "ORIGINALDATE": "TDOR", "GENRE": "TCON", "BPM": "TBPM", "KEY": "TKEY",
    "LANGUAGE": "TLAN", "MOOD": "TMOO", "MEDIA": "TMED", "ISRC": "TSRC", "ORGANIZATION": "TPUB",
    "COPYRIGHT": "TCOP", "ENCODED-BY": "TENC", "ALBUMSORT": "TSOA", "ARTISTSORT": "TSOP",
    "TITLESORT": "TSOT", "ALBUMARTISTSORT": "TSO2", "COMPOSERSORT": "TSOC",
}  # fmt: skip
_KEY_OF = {frame: key for key, frame in _FRAME_OF.items()}
_VORBIS_COMMENTS = ("flac", "ogg", "oga", "opus")
WRITABLE = (*_VORBIS_COMMENTS, "mp3")
"""Formats whose tags mutagen writes here."""


def has_mutagen() -> bool:
    """Whether the extra `tags` is installed."""
    return find_spec("mutagen") is not None


def read_tags(path: Path, known: Mapping[str, str]) -> Pairs:
    """Return the tags of an audio file, given those that libsndfile found.

    Whatever is wrong with tags, they do not keep the audio from being converted.
    """
    found: list[tuple[str, str]] = []
    if has_mutagen():
        import mutagen

        with contextlib.suppress(Exception):
            file: Any = mutagen.File(path)  # pyright: ignore[reportPrivateImportUsage]
            tags = None if file is None else file.tags
            if tags is not None:
                found = list(_of_id3(tags) if hasattr(tags, "getall") else _of_comments(tags))
    there = {key for key, _ in found}
    found += [(key, text) for key, text in known.items() if key not in there]
    return tuple((key, text) for key, text in found if _is_storable(key, text))


def _of_comments(tags: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for key, text in tags:
        if isinstance(text, str) and key.upper() not in _LEFT:
            yield key.upper(), text


def _of_id3(tags: Any) -> Iterator[tuple[str, str]]:
    for frame in tags.values():
        kind = frame.FrameID
        key = _KEY_OF.get(kind)
        if key is not None:
            for text in frame.genres if kind == "TCON" else frame.text:
                yield key, str(text)
        elif kind == "TXXX" and frame.desc:
            for text in frame.text:
                yield frame.desc.upper(), str(text)
        elif kind == "COMM" and frame.desc in ("", "ID3v1 Comment"):
            yield "COMMENT", str(frame.text[0])
        elif kind == "USLT":
            yield "LYRICS", str(frame.text)


def _is_storable(key: str, text: str) -> bool:
    """Whether a .ncx file can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return bool(key) and bool(text) and all(" " <= char <= "}" and char != "=" for char in key)


def write_tags(path: Path, container: str, tags: Pairs) -> bool:
    """Give a file that was just made all of its tags; False where that is not possible."""
    if not tags or container not in WRITABLE or not has_mutagen():
        return not tags
    try:
        (_write_id3 if container == "mp3" else _write_comments)(path, container, tags)
    except Exception:  # mutagen raises more than its own errors
        return False
    return True


def _write_comments(path: Path, container: str, tags: Pairs) -> None:
    from mutagen.flac import FLAC
    from mutagen.oggopus import OggOpus
    from mutagen.oggvorbis import OggVorbis

    kinds: dict[str, Callable[[Path], Any]] = {"flac": FLAC, "opus": OggOpus}
    file = kinds.get(container, OggVorbis)(path)
    if file.tags is None:
        file.add_tags()
    comments: Any = file.tags
    for key, texts in _by_key(tags).items():
        comments[key] = texts
    file.save()


def _by_key(tags: Pairs) -> dict[str, list[str]]:
    by_key: dict[str, list[str]] = {}
    for key, text in tags:
        by_key.setdefault(key.upper(), []).append(text)
    return by_key


def _write_id3(path: Path, container: str, tags: Pairs) -> None:
    from mutagen import id3

    file = id3.ID3()
    for key, texts in _by_key(tags).items():
        if key in _FRAME_OF:
            file.add(getattr(id3, _FRAME_OF[key])(encoding=3, text=texts))
        elif key == "COMMENT":
            file.add(id3.COMM(encoding=3, lang="XXX", desc="", text=texts))
        elif key == "LYRICS":
            file.add(id3.USLT(encoding=3, lang="XXX", desc="", text="\n".join(texts)))
        else:
            file.add(id3.TXXX(encoding=3, desc=key, text=texts))
    file.save(path)
