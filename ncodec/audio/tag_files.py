"""Tags and pictures of audio files, read and written by mutagen."""

import contextlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from ncodec.audio import foreign_tags
from ncodec.audio import pictures as images
from ncodec.audio.metadata import NOTHING, Metadata, storable
from ncodec.audio.tags import by_key, frames_of, of_comments, of_id3
from ncodec.formats.ncx import Picture, Tags


def read_metadata(file: BinaryIO) -> Metadata:
    """Return the tags and pictures of an audio file, from the start of a stream that seeks.

    Those of WAV are read in `wav`. Whatever is wrong with tags, they do not keep the audio from
    being read.
    """
    with contextlib.suppress(Exception):  # mutagen raises more than its own errors
        file.seek(0)
        magic = file.read(4)
        return _found(_Bounded(file), magic)
    return NOTHING


class _Bounded:
    """A file of which no more is asked for than is there: a read takes that memory at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._n_bytes = file.seek(0, os.SEEK_END)
        self.seek, self.tell = file.seek, file.tell

    def read(self, n: int = -1) -> bytes:
        """Return `n` bytes; fewer only at the end."""
        left = max(0, self._n_bytes - self.tell())
        return self._file.read(left if n < 0 else min(n, left))


def _found(file: _Bounded, magic: bytes) -> Metadata:
    """Return what mutagen finds; it is imported only where there may be something."""
    file.seek(0)
    if magic in (b"RIFF", b"RF64", b"BW64"):
        return NOTHING
    if magic == b"fLaC":  # a quarter of what all of mutagen takes to import
        from mutagen.flac import FLAC

        flac: Any = FLAC(file)  # pyright: ignore[reportArgumentType]
        comments: Any = flac.tags or ()
        return storable(of_comments(comments), images.of_flac(flac.pictures))
    import mutagen

    found: Any = mutagen.File(file)  # pyright: ignore[reportPrivateImportUsage]
    tags = found.tags if found else None
    if not tags:
        return _of_ape(file)
    match type(tags).__name__:
        case "MP4Tags":
            return storable(foreign_tags.of_mp4(tags), images.of_mp4(tags.get("covr", ())))
        case "ASFTags":
            return storable(foreign_tags.of_asf(tags), images.of_asf(tags.get("WM/Picture", ())))
        case "APEv2":
            return storable(foreign_tags.of_ape(tags), images.of_ape(tags))
        case _ if hasattr(tags, "getall"):
            return _of_id3(tags)
        case _:
            of_blocks = images.of_flac(getattr(found, "pictures", ()))
            return storable(of_comments(tags), (*of_blocks, *images.of_comments(tags)))


def _of_ape(file: _Bounded) -> Metadata:
    """Return what an APEv2 tag holds, which may be at the end of any file."""
    from mutagen.apev2 import APEv2

    file.seek(0)
    tags: Any = APEv2(file)
    return storable(foreign_tags.of_ape(tags), images.of_ape(tags))


def _of_id3(tags: Any) -> Metadata:
    return storable(of_id3(tags), images.of_id3(tags.getall("APIC")))


def write_metadata(path: Path, kind: str, metadata: Metadata) -> Metadata:
    """Give a file that was just made its tags and pictures; return those without room.

    kind  FLAC, VORBIS, OPUS, MP3 or AIFF; others have no room
    """
    writer = {
        "FLAC": _write_flac, "VORBIS": _write_vorbis, "OPUS": _write_opus, "MP3": _write_id3,
        "AIFF": _write_aiff,
    }.get(kind)  # fmt: skip
    if not metadata or writer is None:
        return metadata
    try:
        writer(path, metadata)
    except Exception:  # mutagen raises more than its own errors
        return metadata
    return NOTHING


def _write_flac(path: Path, metadata: Metadata) -> None:
    from mutagen.flac import FLAC

    file: Any = FLAC(path)
    for picture in metadata.pictures:
        file.add_picture(images.flac_block_of(picture))
    _write_comments(file, metadata.tags)


def _write_vorbis(path: Path, metadata: Metadata) -> None:
    from mutagen.oggvorbis import OggVorbis

    file: Any = OggVorbis(path)
    _write_comments(file, (*metadata.tags, *_picture_comments(metadata)))


def _write_opus(path: Path, metadata: Metadata) -> None:
    from mutagen.oggopus import OggOpus

    file: Any = OggOpus(path)
    _write_comments(file, (*metadata.tags, *_picture_comments(metadata)))


def _picture_comments(metadata: Metadata) -> Tags:
    return tuple((images.COMMENT_KEY, images.comment_of(one)) for one in metadata.pictures)


def _write_comments(file: Any, tags: Tags) -> None:
    if file.tags is None:
        file.add_tags()
    comments: Any = file.tags
    for key, texts in by_key(tags).items():
        comments[key] = texts
    file.save()


def read_id3(content: bytes) -> Metadata:
    """Return what an ID3v2 tag holds; nothing where it is none."""
    with contextlib.suppress(Exception):  # mutagen raises more than its own errors
        return _of_id3(_new_id3(io.BytesIO(content)))
    return NOTHING


def id3_of(tags: Iterable[tuple[str, str]], pictures: Iterable[Picture] = ()) -> bytes:
    """Return tags and pictures as an ID3v2.4 tag."""
    made = io.BytesIO()
    _fill_id3(_new_id3(), tags, pictures).save(made, padding=lambda info: 0)
    return made.getvalue()


def _write_id3(path: Path, metadata: Metadata) -> None:
    _fill_id3(_new_id3(), metadata.tags, metadata.pictures).save(path)


def _write_aiff(path: Path, metadata: Metadata) -> None:
    from mutagen.aiff import AIFF

    file: Any = AIFF(path)
    file.add_tags()
    _fill_id3(file.tags, metadata.tags, metadata.pictures)
    file.save()


def _new_id3(*content: BinaryIO) -> Any:
    from mutagen.id3 import ID3

    return ID3(*content)


def _fill_id3(file: Any, tags: Iterable[tuple[str, str]], pictures: Iterable[Picture]) -> Any:
    """Add the frames of each key, and of the pictures."""
    for key, texts in by_key(tags).items():
        for frame in frames_of(key, texts):
            file.add(frame)
    for frame in images.id3_frames_of(pictures):
        file.add(frame)
    return file
