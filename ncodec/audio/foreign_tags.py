"""Text tags of MP4, ASF and APEv2, as mutagen reads them; they are not written.

Keys are those of Vorbis comments; docs/CLI.md has the table.
"""

from collections.abc import Iterator
from typing import Any

from ncodec.audio.tags import key_of_description

_KEY_OF_ATOM = {
    "©nam": "TITLE", "©ART": "ARTIST", "aART": "ALBUMARTIST", "©alb": "ALBUM", "©day": "DATE",
    "©gen": "GENRE", "©cmt": "COMMENT", "©wrt": "COMPOSER", "©lyr": "LYRICS", "©grp": "GROUPING",
    "cprt": "COPYRIGHT", "desc": "DESCRIPTION", "cpil": "COMPILATION", "tmpo": "BPM",
    "soal": "ALBUMSORT", "soaa": "ALBUMARTISTSORT", "soar": "ARTISTSORT", "sonm": "TITLESORT",
    "soco": "COMPOSERSORT", "©mvn": "MOVEMENTNAME", "©mvi": "MOVEMENT", "©wrk": "WORK",
    "trkn": "TRACKNUMBER", "disk": "DISCNUMBER",
}  # fmt: skip
_FREEFORM = "----:"  # an atom named by an owner and a description

_KEY_OF_ASF = {
    "TITLE": "TITLE", "AUTHOR": "ARTIST", "DESCRIPTION": "COMMENT", "COPYRIGHT": "COPYRIGHT",
    "WM/ALBUMTITLE": "ALBUM", "WM/ALBUMARTIST": "ALBUMARTIST", "WM/YEAR": "DATE",
    "WM/ORIGINALRELEASEYEAR": "ORIGINALDATE", "WM/TRACKNUMBER": "TRACKNUMBER",
    "WM/PARTOFSET": "DISCNUMBER", "WM/SETSUBTITLE": "DISCSUBTITLE", "WM/GENRE": "GENRE",
    "WM/COMPOSER": "COMPOSER", "WM/CONDUCTOR": "CONDUCTOR", "WM/WRITER": "LYRICIST",
    "WM/MODIFIEDBY": "REMIXER", "WM/PRODUCER": "PRODUCER", "WM/LYRICS": "LYRICS",
    "WM/PUBLISHER": "ORGANIZATION", "WM/BEATSPERMINUTE": "BPM", "WM/INITIALKEY": "KEY",
    "WM/ISRC": "ISRC", "WM/MOOD": "MOOD", "WM/LANGUAGE": "LANGUAGE", "WM/MEDIA": "MEDIA",
    "WM/SUBTITLE": "SUBTITLE", "WM/CONTENTGROUPDESCRIPTION": "GROUPING",
    "WM/ISCOMPILATION": "COMPILATION", "WM/ENCODEDBY": "ENCODED-BY",
    "WM/ALBUMSORTORDER": "ALBUMSORT", "WM/ARTISTSORTORDER": "ARTISTSORT",
    "WM/TITLESORTORDER": "TITLESORT", "WM/ALBUMARTISTSORTORDER": "ALBUMARTISTSORT",
    "WM/COMPOSERSORTORDER": "COMPOSERSORT",
}  # fmt: skip
_NOT_OF_PEOPLE = ("WMFSDK", "ISVBR", "WM/ENCODINGSETTINGS", "WM/ENCODINGTIME", "WM/PICTURE",
                  "DEVICECONFORMANCE", "WM/UNIQUEFILEID", "WM/MEDIACLASS")  # fmt: skip

_KEY_OF_APE = {"YEAR": "DATE", "TRACK": "TRACKNUMBER", "DISC": "DISCNUMBER",
               "ALBUM ARTIST": "ALBUMARTIST", "MIXARTIST": "REMIXER",
               "PUBLISHER": "ORGANIZATION"}  # fmt: skip


def of_mp4(tags: Any) -> Iterator[tuple[str, str]]:
    """Yield keys and texts of a mutagen.mp4.MP4Tags."""
    for atom, value in tags.items():
        key = _KEY_OF_ATOM.get(atom, "")
        if atom in ("trkn", "disk"):
            for number, total in value:
                yield key, f"{number}/{total}" if total else str(number)
        elif atom == "cpil":
            yield key, "1" if value else ""
        elif atom.startswith(_FREEFORM):
            description = atom.rpartition(":")[2]
            if not description.startswith("iTun"):
                for text in value:
                    yield key_of_description(description), bytes(text).decode("utf-8", "replace")
        elif key:
            for text in value:
                yield key, str(text)


def of_asf(tags: Any) -> Iterator[tuple[str, str]]:
    """Yield keys and texts of a mutagen.asf.ASFTags."""
    for name, value in tags:
        key: str = name.upper()
        if key.startswith("MUSICBRAINZ/"):
            yield key_of_description(f"MusicBrainz {name[12:]}"), str(value)
        elif not key.startswith(_NOT_OF_PEOPLE):
            text = str(value)
            if key == "WM/ISCOMPILATION":
                text = "1" if text == "True" else ""
            yield _KEY_OF_ASF.get(key, key), text


def of_ape(tags: Any) -> Iterator[tuple[str, str]]:
    """Yield keys and texts of a mutagen.apev2.APEv2."""
    for name, item in tags.items():
        key: str = name.upper()
        if item.kind == 0 and key != "ENCODER":  # text; others are data and addresses
            for text in item:
                yield _KEY_OF_APE.get(key, key), text
