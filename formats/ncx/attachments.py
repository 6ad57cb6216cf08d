"""Attachments, between header and packet 0: more tags, pictures (NCX.md, section 3)."""

import io
import zlib
from collections.abc import Callable, Iterable

from ncodec.errors import (
    ChecksumMismatch,
    FormatError,
    InvalidField,
    LimitExceeded,
    Truncated,
)
from ncodec.formats.ncx.cursor import BufferedStream, Cursor, Mark
from ncodec.formats.ncx.layout import Field, pack_bytes, pack_number, pack_text, unpack_varint
from ncodec.formats.ncx.pictures import Picture
from ncodec.formats.ncx.tags import Tags, check_tags, read_tag

TAGS_KIND = 1
PICTURE_KIND = 2
KINDS = {TAGS_KIND: "tags", PICTURE_KIND: "picture"}
MAX_ATTACHMENTS = 256
MAX_ATTACHED_TAGS = 65536
MAX_ATTACHED_BYTES = 1 << 26
MAX_ATTACHMENT_BYTES = (1 << 24) - 1

Attachments = tuple[tuple[int, bytes], ...]  # kinds and contents
OnDamage = Callable[[int, int, FormatError], None]  # offset, bytes, what is wrong

ATTACHMENT_KIND = Field("attachment_kind", "u8", 1, 255)
ATTACHMENT = Field("attachment", "blob", 0, MAX_ATTACHMENT_BYTES, LimitExceeded)
ATTACHMENT_CRC = Field("attachment_crc", "u32", refusal=ChecksumMismatch)
ATTACHMENT_FIELDS = (ATTACHMENT_KIND, ATTACHMENT, ATTACHMENT_CRC)
ATTACHED_TAG = Field("tag", "text", 2, ATTACHMENT.high - 4, LimitExceeded)
ATTACHED_BYTES = Field("attached_bytes", "varint", 6, MAX_ATTACHED_BYTES, LimitExceeded)


def parse_attached_bytes(content: bytes) -> int:
    """Return what extension 0x83 says. Raises InvalidField or LimitExceeded."""
    n_bytes, end = unpack_varint(content, 0, ATTACHED_BYTES.name)
    if end != len(content):
        raise InvalidField(f"{ATTACHED_BYTES.name}: {len(content) - end} bytes follow it")
    return ATTACHED_BYTES.check(n_bytes)


def pack_attachments(tags: Tags, attachments: Attachments) -> bytes:
    """Return the bytes of all, the tags first. Raises InvalidField or LimitExceeded."""
    if len(tags) > MAX_ATTACHED_TAGS:
        fault = f"{len(tags)} tags beyond the header, expected at most {MAX_ATTACHED_TAGS}"
        raise LimitExceeded(fault)
    packed_tags = b"".join(pack_text(ATTACHED_TAG, f"{key}={value}") for key, value in tags)
    all_of_them = (*(((TAGS_KIND, packed_tags),) if tags else ()), *attachments)
    check_attachments(attachments)
    if len(all_of_them) > MAX_ATTACHMENTS:
        fault = f"{len(all_of_them)} attachments, expected at most {MAX_ATTACHMENTS}"
        raise LimitExceeded(fault)
    packed = b"".join(_packed(kind, content) for kind, content in all_of_them)
    if packed:
        ATTACHED_BYTES.check(len(packed))
    return packed


def _packed(kind: int, content: bytes) -> bytes:
    packed = pack_number(ATTACHMENT_KIND, kind) + pack_bytes(ATTACHMENT, content)
    return packed + zlib.crc32(packed).to_bytes(4, "little")


def check_attachments(attachments: Iterable[tuple[int, bytes]]) -> None:
    """Raise InvalidField for a picture that is none, and for tags: those are not given as bytes."""
    for kind, content in attachments:
        if kind == TAGS_KIND:
            raise InvalidField("an attachment of tags that is not the first")
        if kind == PICTURE_KIND:
            Picture.parse(content)


def read_attachments(
    source: BufferedStream, n_bytes: int, marks: list[Mark] | None, on_damage: OnDamage | None
) -> tuple[Tags, Attachments]:
    """Read the `n_bytes` of attachments at the source's start; return the tags and the others.

    Raises the FormatError of damage. With `on_damage` it is passed to that function instead, and
    what is whole is returned.
    """
    end = source.offset + n_bytes
    tags: Tags = ()
    found: list[tuple[int, bytes]] = []
    n_read = 0
    while source.offset < end and source.need(1):
        cursor = Cursor(source, f"attachment {n_read}", marks)
        cursor.end = end - source.offset
        n_read += 1
        n_whole = cursor.end  # bytes to go on after
        try:
            if n_read > MAX_ATTACHMENTS:
                raise cursor.error(LimitExceeded, f"more than {MAX_ATTACHMENTS} attachments", 0)
            kind = cursor.number(ATTACHMENT_KIND)
            content = cursor.blob(ATTACHMENT)
            n_whole = min(cursor.at + 4, cursor.end)
            cursor.verify(ATTACHMENT_CRC, cursor.at)
            cursor.number(ATTACHMENT_CRC)
            if kind == TAGS_KIND and n_read == 1:
                tags = _parse_tags(cursor, content)
            else:
                _check(cursor, kind, content)
                found.append((kind, content))
        except FormatError as error:
            if on_damage is None:
                raise
            on_damage(source.offset, _skip(source, n_whole), error)
        else:
            source.drop(cursor.at)
    if source.offset < end and on_damage is None:
        raise Cursor(source, f"attachment {n_read}").error(Truncated, "the file ends here")
    return tags, tuple(found)


def _check(cursor: Cursor, kind: int, content: bytes) -> None:
    try:
        check_attachments([(kind, content)])
    except FormatError as error:
        raise cursor.error(type(error), str(error), 0) from None


def _skip(source: BufferedStream, n_bytes: int) -> int:
    """Skip bytes, as far as there are any; return how many."""
    start, end = source.offset, source.offset + n_bytes
    while source.offset < end and source.need(1):
        source.drop(min(end - source.offset, len(source.buffer)))
    return source.offset - start


def _parse_tags(cursor: Cursor, content: bytes) -> Tags:
    """Return the tags of an attachment, which has at least one."""
    inside = Cursor(BufferedStream(io.BytesIO(content), cursor.source.name), f"{cursor.label}, its")
    inside.end = len(content)
    found: list[tuple[str, str]] = []
    while inside.at < inside.end or not found:
        if len(found) == MAX_ATTACHED_TAGS:
            raise inside.error(LimitExceeded, f"more than {MAX_ATTACHED_TAGS} tags")
        found.append(read_tag(inside, ATTACHED_TAG))
    try:
        check_tags(tuple(found))
    except FormatError as error:
        raise cursor.error(type(error), str(error), 0) from None
    return tuple(found)
