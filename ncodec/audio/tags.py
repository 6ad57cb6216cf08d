"""Text tags in Vorbis comments and ID3, as mutagen reads and writes them.

Keys are those of Vorbis comments, as taggers spell them, in upper case; docs/CLI.md has the table.
A key may occur more than once: its values keep their order. The name of the encoder is left alone.
"""

from collections.abc import Iterable, Iterator
from typing import Any

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
_KEY_OF_DESCRIPTION["MUSICBRAINZ TRACK ID"] = "MUSICBRAINZ_TRACKID"  # UFID in ID3
_KEY_OF_ROLE = {"arranger": "ARRANGER", "engineer": "ENGINEER", "producer": "PRODUCER",
                "mix": "MIXER", "dj-mix": "DJMIXER"}  # fmt: skip
_RECORDING, _RECORDING_OWNER = "MUSICBRAINZ_TRACKID", "http://musicbrainz.org"  # of a UFID frame
_COMMENT, _LYRICS = "COMMENT", "LYRICS"
_NO_LANGUAGE = "XXX"  # ID3's code for one that is not known


def of_comments(tags: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield keys and texts of Vorbis comments."""
    for key, text in tags:
        if isinstance(text, str) and key.upper() not in _LEFT:
            yield key.upper(), text


def of_id3(tags: Any) -> Iterator[tuple[str, str]]:
    """Yield keys and texts of a mutagen.id3.ID3."""

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
        for text in frame.text:
            yield key_of_description(frame.desc), text
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


def key_of_description(description: str) -> str:
    """Return the key of what taggers name by such a description."""
    key = description.upper()
    return _KEY_OF_DESCRIPTION.get(key, key)


def _key_of_role(role: str) -> str:
    return _KEY_OF_ROLE.get(role.lower(), role.upper())


def by_key(tags: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return all values of each key, in upper case."""
    found: dict[str, list[str]] = {}
    for key, text in tags:
        found.setdefault(key.upper(), []).append(text)
    return found


def joined(tags: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return one text for each key, for formats that hold no more."""
    return {key: "; ".join(texts) for key, texts in by_key(tags).items()}


def frames_of(key: str, texts: list[str]) -> list[Any]:
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
