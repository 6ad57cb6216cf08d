"""Text tags of audio files, read and written by mutagen.

Keys are those of Vorbis comments, as taggers spell them, in upper case; docs/CLI.md has the table.
A key may occur more than once: its values keep their order. Pictures and the name of the encoder
are not text, and are left alone.
"""

import contextlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ncodec.formats.ncx import Tags

_LEFT = frozenset({"METADATA_BLOCK_PICTURE", "COVERART", "COVERARTMIME", "ENCODER"})

FRAME_OF = {
    "TITLE": "TIT2", "SUBTITLE": "TIT3", "GROUPING": "TIT1", "ARTIST": "TPE1",
    "ALBUMARTIST": "TPE2", "CONDUCTOR": "TPE3", "REMIXER": "TPE4", "COMPOSER": "TCOM",
    "LYRICIST": "TEXT", "ALBUM": "TALB", "TRACKNUMBER": "TRCK", "DISCNUMBER": "TPOS",
    "DISCSUBTITLE": "TSST", "DATE": "TDRC", "ORIGINALDATE": "TDOR", "GENRE": "TCON",
    "COMPILATION": "TCMP", "BPM": "TBPM", "KEY": "TKEY", "LANGUAGE": "TLAN", "MOOD": "TMOO",
    "MEDIA": "TMED", "ISRC": "TSRC", "ORGANIZATION": "TPUB", "COPYRIGHT": "TCOP",
    "ENCODED-BY": "TENC", "ENCODERSETTINGS": "TSSE", "ALBUMSORT": "TSOA", "ARTISTSORT": "TSOP",
    "TITLESORT": "TSOT", "ALBUMARTISTSORT": "TSO2", "COMPOSERSORT": "TSOC",
    "ORIGINALALBUM": "TOAL", "ORIGINALARTIST": "TOPE", "ORIGINALFILENAME": "TOFN",
    "MOVEMENTNAME": "MVNM", "MOVEMENT": "MVIN",
}  # fmt: skip
"""ID3v2 text frames of keys. Other keys have a TXXX frame with the key as its description."""

DESCRIPTION_OF = {
    "MUSICBRAINZ_ALBUMID": "MusicBrainz Album Id",
    "MUSICBRAINZ_ARTISTID": "MusicBrainz Artist Id",
    "MUSICBRAINZ_ALBUMARTISTID": "MusicBrainz Album Artist Id",
    "MUSICBRAINZ_RELEASEGROUPID": "MusicBrainz Release Group Id",
    "MUSICBRAINZ_RELEASETRACKID": "MusicBrainz Release Track Id",
    "MUSICBRAINZ_WORKID": "MusicBrainz Work Id",
    "MUSICBRAINZ_DISCID": "MusicBrainz Disc Id",
    "MUSICBRAINZ_TRMID": "MusicBrainz TRM Id",
    "MUSICBRAINZ_ORIGINALALBUMID": "MusicBrainz Original Album Id",
    "MUSICBRAINZ_ORIGINALARTISTID": "MusicBrainz Original Artist Id",
    "RELEASETYPE": "MusicBrainz Album Type",
    "RELEASESTATUS": "MusicBrainz Album Status",
    "RELEASECOUNTRY": "MusicBrainz Album Release Country",
    "ACOUSTID_ID": "Acoustid Id",
    "ACOUSTID_FINGERPRINT": "Acoustid Fingerprint",
    "MUSICIP_PUID": "MusicIP PUID",
}
"""Descriptions of TXXX frames that are spelled in another way than the key."""

_KEY_OF_FRAME: dict[str, str] = {frame: key for key, frame in FRAME_OF.items()}
_KEY_OF_DESCRIPTION = {text.upper(): key for key, text in DESCRIPTION_OF.items()}
_KEY_OF_ROLE = {"arranger": "ARRANGER", "engineer": "ENGINEER", "producer": "PRODUCER",
                "mix": "MIXER", "dj-mix": "DJMIXER"}  # fmt: skip
_RECORDING, _RECORDING_OWNER = "MUSICBRAINZ_TRACKID", "http://musicbrainz.org"  # of a UFID frame
_COMMENT, _LYRICS = "COMMENT", "LYRICS"
_NO_LANGUAGE = "XXX"  # ID3's code for one that is not known


def read_tags(file: BinaryIO) -> Tags:
    """Return the tags of an audio file, from the start of a stream that seeks; () for none.

    Those of WAV are read in `wav`. Whatever is wrong with tags, they do not keep the audio from
    being read.
    """
    with contextlib.suppress(Exception):  # mutagen raises more than its own errors
        file.seek(0)
        tags = _found(file, file.read(4))
        if tags is not None:
            return storable(_of_id3(tags) if hasattr(tags, "getall") else _of_comments(tags))
    return ()


def _found(file: BinaryIO, magic: bytes) -> Any:
    """Return what mutagen finds, or None; it is imported only where there may be something."""
    file.seek(0)
    if magic in (b"RIFF", b"RF64", b"BW64"):
        return None
    if magic == b"fLaC":  # a quarter of what all of mutagen takes to import
        from mutagen.flac import FLAC

        return FLAC(file).tags
    import mutagen

    found: Any = mutagen.File(file)  # pyright: ignore[reportPrivateImportUsage]
    return found and found.tags


def merged(tags: Tags, others: Tags) -> Tags:
    """Return the tags, and the others whose keys they lack, of what a .ncx file can hold."""
    there = {key for key, _ in tags}
    return tags + storable((key, text) for key, text in others if key not in there)


def storable(tags: Iterable[tuple[str, str]]) -> Tags:
    """Return those that a .ncx file can hold."""
    return tuple((key, text) for key, text in tags if _is_storable(key, text))


def _is_storable(key: str, text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return bool(key) and bool(text) and all(" " <= char <= "}" and char != "=" for char in key)


def _of_comments(tags: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for key, text in tags:
        if isinstance(text, str) and key.upper() not in _LEFT:
            yield key.upper(), text


def _of_id3(tags: Any) -> Iterator[tuple[str, str]]:
    def place(frame: Any) -> str:
        return frame.desc if frame.FrameID == "USLT" else ""  # numbers, as written here

    for frame in sorted(tags.values(), key=place):
        for key, text in _of_frame(frame):
            yield key, text.rstrip("\0")


def _of_frame(frame: Any) -> Iterator[tuple[str, str]]:
    kind: str = frame.FrameID
    if kind in _KEY_OF_FRAME:
        for value in frame.genres if kind == "TCON" else frame.text:
            text = str(value)
            is_time = kind in ("TDRC", "TDOR")  # which mutagen shows with a space
            yield _KEY_OF_FRAME[kind], text.replace(" ", "T") if is_time else text
    elif kind == "TXXX" and frame.desc:
        key: str = frame.desc.upper()
        for text in frame.text:
            yield _KEY_OF_DESCRIPTION.get(key, key), text
    elif kind == "COMM" and not frame.desc.startswith("iTun"):
        plain = frame.desc in ("", "ID3v1 Comment")
        for text in frame.text:
            yield _COMMENT if plain else f"{_COMMENT}:{frame.desc.upper()}", text
    elif kind == "USLT":
        yield _LYRICS, frame.text
    elif kind == "UFID" and frame.owner == _RECORDING_OWNER:
        yield _RECORDING, frame.data.decode("ascii", "replace")
    elif kind in ("TIPL", "IPLS"):
        for role, person in frame.people:
            yield _key_of_role(role), person
    elif kind == "TMCL":
        for role, person in frame.people:
            yield "PERFORMER", f"{person} ({role})"


def _key_of_role(role: str) -> str:
    return _KEY_OF_ROLE.get(role.lower(), role.upper())


def write_tags(path: Path, kind: str, tags: Tags) -> tuple[str, ...]:
    """Give a file that was just made all of its tags; return the keys that it has no room for.

    kind  FLAC, VORBIS, OPUS, MP3 or AIFF; others have no room
    """
    writer = {
        "FLAC": _write_flac, "VORBIS": _write_vorbis, "OPUS": _write_opus, "MP3": _write_id3,
        "AIFF": _write_aiff,
    }.get(kind)  # fmt: skip
    if not tags or writer is None:
        return tuple(by_key(tags))
    try:
        writer(path, tags)
    except Exception:  # mutagen raises more than its own errors
        return tuple(by_key(tags))
    return ()


def _write_flac(path: Path, tags: Tags) -> None:
    from mutagen.flac import FLAC

    file: Any = FLAC(path)
    _write_comments(file, tags)


def _write_vorbis(path: Path, tags: Tags) -> None:
    from mutagen.oggvorbis import OggVorbis

    file: Any = OggVorbis(path)
    _write_comments(file, tags)


def _write_opus(path: Path, tags: Tags) -> None:
    from mutagen.oggopus import OggOpus

    file: Any = OggOpus(path)
    _write_comments(file, tags)


def _write_comments(file: Any, tags: Tags) -> None:
    if file.tags is None:
        file.add_tags()
    comments: Any = file.tags
    for key, texts in by_key(tags).items():
        comments[key] = texts
    file.save()


def by_key(tags: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return all values of each key, in upper case."""
    found: dict[str, list[str]] = {}
    for key, text in tags:
        found.setdefault(key.upper(), []).append(text)
    return found


def joined(tags: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return one text for each key, for formats that hold no more."""
    return {key: "; ".join(texts) for key, texts in by_key(tags).items()}


def read_id3(content: bytes) -> Tags:
    """Return the tags of an ID3v2 tag; () where it is none."""
    with contextlib.suppress(Exception):  # mutagen raises more than its own errors
        return storable(_of_id3(_new_id3(io.BytesIO(content))))
    return ()


def id3_of(tags: Iterable[tuple[str, str]]) -> bytes:
    """Return the tags as an ID3v2.4 tag."""
    made = io.BytesIO()
    _fill_id3(_new_id3(), tags).save(made, padding=lambda info: 0)
    return made.getvalue()


def _write_id3(path: Path, tags: Tags) -> None:
    _fill_id3(_new_id3(), tags).save(path)


def _write_aiff(path: Path, tags: Tags) -> None:
    from mutagen.aiff import AIFF

    file: Any = AIFF(path)
    file.add_tags()
    _fill_id3(file.tags, tags)
    file.save()


def _new_id3(*content: BinaryIO) -> Any:
    from mutagen.id3 import ID3

    return ID3(*content)


def _fill_id3(file: Any, tags: Iterable[tuple[str, str]]) -> Any:
    """Add the frames of each key."""
    for key, texts in by_key(tags).items():
        for frame in _frames_of(key, texts):
            file.add(frame)
    return file


def _frames_of(key: str, texts: list[str]) -> list[Any]:
    """Return the frames that hold these texts; a TXXX frame where the key's own would change them.

    A date must be one, for instance, and a number for a genre would become its name.
    """
    from mutagen import id3

    utf8: Any = id3.Encoding.UTF8
    kind, _, desc = key.partition(":")
    frames: list[Any] = []
    if key in FRAME_OF:
        frames = [getattr(id3, FRAME_OF[key])(encoding=utf8, text=texts)]
    elif kind == _COMMENT:
        frames = [id3.COMM(encoding=utf8, lang=_NO_LANGUAGE, desc=desc, text=texts)]
    elif key == _LYRICS:
        frames = [
            id3.USLT(encoding=utf8, lang=_NO_LANGUAGE, desc=str(number or ""), text=text)
            for number, text in enumerate(texts)
        ]
    elif key == _RECORDING and len(texts) == 1:
        frames = [id3.UFID(owner=_RECORDING_OWNER, data=texts[0].encode())]
    if [pair for frame in frames for pair in _of_frame(frame)] == [(key, text) for text in texts]:
        return frames
    return [id3.TXXX(encoding=utf8, desc=DESCRIPTION_OF.get(key, key), text=texts)]
