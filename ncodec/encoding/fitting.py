"""The tags and pictures for which a .ncx file has room."""

from collections.abc import Iterable
from typing import cast

from ncodec.audio import Metadata
from ncodec.errors import FormatError, UsageError
from ncodec.formats.ncx import (
    MAX_ATTACHED_BYTES,
    MAX_ATTACHED_TAGS,
    MAX_ATTACHMENT_BYTES,
    MAX_ATTACHMENTS,
    Picture,
    Tags,
    check_tag,
)

TagsGiven = dict[str, str] | Iterable[tuple[str, str]]  # of a caller

_FRAMING_BYTES = 16  # of an attachment, at most


def fitting(metadata: Metadata, *, pictures: bool = True) -> Metadata:
    """Return what fits; `left_out` names the rest, but not pictures that are not wanted."""
    tags, left = _fitting_tags(metadata.tags)
    n_bytes = MAX_ATTACHED_BYTES - sum(map(_n_bytes, tags)) - _FRAMING_BYTES
    kept: list[Picture] = []
    for number, picture in enumerate(metadata.pictures if pictures else (), 1):
        try:
            size = len(picture.pack())
        except FormatError as error:
            left.append(f"picture {number}: {error}")
            continue
        if size > min(MAX_ATTACHMENT_BYTES, n_bytes) or len(kept) == MAX_ATTACHMENTS - 1:
            left.append(f"picture {number} of {len(picture.data)} bytes")
            continue
        kept.append(picture)
        n_bytes -= size + _FRAMING_BYTES
    return Metadata(tags, tuple(kept), metadata.left_out + tuple(left))


def as_metadata(tags: TagsGiven | None, pictures: Iterable[Picture] = ()) -> Metadata:
    """Return what a caller gives. Raises UsageError for what no file can hold."""
    pairs = cast("Tags", tuple(tags.items() if isinstance(tags, dict) else tags or ()))
    given = Metadata(pairs, tuple(pictures))
    try:
        for key, text in given.tags:
            if not isinstance(key, str) or not isinstance(text, str):
                raise UsageError(f"tags: {key!r} and {text!r} are not both text")
            check_tag(key, text)
    except (FormatError, TypeError, ValueError) as error:
        raise UsageError(f"tags: {error}") from None
    if left := fitting(given).left_out:
        raise UsageError(f"no room for {', '.join(left)}")
    return given


def _fitting_tags(tags: Tags) -> tuple[Tags, list[str]]:
    kept: list[tuple[str, str]] = []
    left: list[str] = []
    n_bytes = MAX_ATTACHMENT_BYTES
    for key, text in tags:
        size = _n_bytes((key, text))
        fits = size <= n_bytes and len(kept) < MAX_ATTACHED_TAGS
        if fits:
            kept.append((key, text))
            n_bytes -= size
        else:
            left.append(f"the tag {key} of {len(text.encode())} bytes")
    return tuple(kept), left


def _n_bytes(tag: tuple[str, str]) -> int:
    return len(tag[0]) + len(tag[1].encode()) + 5
