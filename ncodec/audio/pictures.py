"""Pictures in the tags of audio files, as mutagen reads and writes them."""

import base64
import binascii
import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from ncodec.errors import InvalidField
from ncodec.formats.ncx import Picture

COMMENT_KEY = "METADATA_BLOCK_PICTURE"  # of Vorbis comments: base64 of a PICTURE block
_OLD_COMMENT_KEY = "COVERART"  # base64 of the data alone, before there was the other
_MAGIC = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG": "image/png",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
    b"BM": "image/bmp",
}
_APE_KINDS = {"COVER ART (FRONT)": 3, "COVER ART (BACK)": 4}
_MOST_KIND = 20  # of ID3; a greater one is written as 0, "other"


def media_type_of(data: bytes) -> str:
    """Return the media type that a picture's first bytes show, "" for none that is known."""
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "")


def of_flac(blocks: Iterable[Any]) -> Iterator[Picture]:
    """Yield the pictures of mutagen.flac.Picture objects."""
    for block in blocks:
        with contextlib.suppress(InvalidField):
            yield Picture.parse(block.write())


def of_comments(tags: Any) -> Iterator[Picture]:
    """Yield the pictures of Vorbis comments."""
    for key, text in tags:
        with contextlib.suppress(InvalidField, binascii.Error, ValueError):
            if key.upper() == COMMENT_KEY:
                yield Picture.parse(base64.b64decode(text, validate=True))
            elif key.upper() == _OLD_COMMENT_KEY:
                data = base64.b64decode(text, validate=True)
                yield Picture(data, media_type_of(data))


def of_id3(frames: Iterable[Any]) -> Iterator[Picture]:
    """Yield the pictures of APIC frames."""
    for frame in frames:
        media_type = frame.mime.lower().strip()
        if media_type and media_type != "-->" and "/" not in media_type:
            media_type = f"image/{media_type}"  # ID3v2.2: JPG, PNG
        media_type = media_type_of(frame.data) or _ascii(media_type).replace("/jpg", "/jpeg")
        yield Picture(frame.data, media_type, int(frame.type), frame.desc.rstrip(" \0"))


def of_ape(tags: Any) -> Iterator[Picture]:
    """Yield the pictures of APEv2 items: a file name, a zero, and data."""
    for key, kind in _APE_KINDS.items():
        item = tags.get(key)
        if item is not None:
            name, _, data = bytes(item.value).partition(b"\0")
            yield Picture(data, media_type_of(data), kind, name.decode("utf-8", "replace"))


def of_mp4(covers: Iterable[bytes]) -> Iterator[Picture]:
    """Yield the pictures of a covr atom."""
    for data in map(bytes, covers):
        yield Picture(data, media_type_of(data))


def of_asf(values: Iterable[Any]) -> Iterator[Picture]:
    """Yield the pictures of WM/Picture: a type, a length, two texts of UTF-16, and data."""
    for value in values:
        content = bytes(value.value)
        texts, at = list[str](), 5
        for _ in range(2):
            end = next(
                (i for i in range(at, len(content) - 1, 2) if content[i : i + 2] == b"\0\0"), None
            )
            if end is None:
                break
            texts.append(content[at:end].decode("utf-16-le", "replace"))
            at = end + 2
        else:
            data = content[at : at + int.from_bytes(content[1:5], "little")]
            media_type = _ascii(texts[0]) or media_type_of(data)
            yield Picture(data, media_type, content[0], texts[1])


def _ascii(text: str) -> str:
    return text.encode("ascii", "ignore").decode()


def comment_of(picture: Picture) -> str:
    """Return the text of a Vorbis comment."""
    return base64.b64encode(picture.pack()).decode()


def flac_block_of(picture: Picture) -> Any:
    """Return the mutagen.flac.Picture."""
    from mutagen.flac import Picture as Block

    return Block(picture.pack())


def id3_frames_of(pictures: Iterable[Picture]) -> Iterator[Any]:
    """Yield APIC frames. No two have one description, so spaces follow one that repeats."""
    from mutagen import id3

    utf8: Any = id3.Encoding.UTF8
    taken: set[str] = set()
    for picture in pictures:
        description = picture.description
        while description in taken:
            description += " "
        taken.add(description)
        kind: Any = picture.kind if picture.kind <= _MOST_KIND else 0
        yield id3.APIC(
            encoding=utf8, mime=picture.media_type, type=kind, desc=description, data=picture.data
        )
