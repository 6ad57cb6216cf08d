"""Tags and extensions, the optional end of the header (NCX.md, section 3)."""

import re

from ncodec.errors import InvalidField, UnsupportedVersion
from ncodec.formats.ncx.cursor import Cursor
from ncodec.formats.ncx.header_layout import (
    ATTACHED,
    CRITICAL_BIT,
    EXTENSION,
    EXTENSION_ID,
    KNOWN_CRITICAL,
    TAG,
    TAG_COUNT,
)
from ncodec.formats.ncx.layout import Field

Tags = tuple[tuple[str, str], ...]  # keys and values

_KEY = re.compile(r"[ -<>-}]+")  # 0x20..0x7D without "="


def parse_tags(cursor: Cursor, end: int) -> Tags:
    """Read the tags of a header body that ends at `end`."""
    if cursor.at == end:
        return ()
    count = cursor.number(TAG_COUNT)
    if count == 0 and cursor.at == end:
        raise cursor.error(InvalidField, "a tag_count of 0 must be left out at the body's end")
    return tuple(read_tag(cursor, TAG) for _ in range(count))


def read_tag(cursor: Cursor, field: Field) -> tuple[str, str]:
    """Read a key and its value. Raises InvalidField."""
    at = cursor.at
    key, equals, value = cursor.text(field).partition("=")
    if not equals:
        raise cursor.error(InvalidField, "tag has no '='", at)
    return key, value


def parse_extensions(cursor: Cursor, end: int) -> tuple[tuple[int, bytes], ...]:
    """Read the extensions of a header body that ends at `end`."""
    extensions: list[tuple[int, bytes]] = []
    while cursor.at < end:
        number = cursor.number(EXTENSION_ID)
        extensions.append((number, cursor.blob(EXTENSION)))
    return tuple(extensions)


def check_tags(tags: Tags) -> None:
    """Raise InvalidField for a key that is not allowed."""
    for key, _ in tags:
        if not _KEY.fullmatch(key):
            fault = "at least one character of 0x20 to 0x7D, without '='"
            raise InvalidField(f"tag: the key is {key!a}, expected {fault}")


def check_extensions(extensions: tuple[tuple[int, bytes], ...]) -> None:
    """Raise InvalidField for an id that occurs twice, UnsupportedVersion for a critical one."""
    numbers: set[int] = set()
    for number, _ in extensions:
        if number in numbers:
            raise InvalidField(f"extension_id 0x{number:02X} occurs twice")
        numbers.add(number)
        if number & CRITICAL_BIT and number not in KNOWN_CRITICAL:
            fault = "is critical and unknown: the file needs a newer version of ncodec"
            raise UnsupportedVersion(f"extension_id 0x{number:02X} {fault}")
    if ATTACHED in numbers and extensions[-1][0] != ATTACHED:
        raise InvalidField(f"extension_id 0x{ATTACHED:02X} is not the last")
