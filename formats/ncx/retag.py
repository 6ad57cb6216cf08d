"""Other tags for a file, without encoding it again (NCX.md, section 3)."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from ncodec.errors import FormatError
from ncodec.formats.ncx.cursor import CHUNK_BYTES, BufferedStream, Cursor
from ncodec.formats.ncx.header import Header
from ncodec.formats.ncx.header_layout import TAG
from ncodec.formats.ncx.layout import pack_text
from ncodec.formats.ncx.signature import SIGNATURE
from ncodec.formats.ncx.tags import check_tags
from ncodec.formats.streams import Readable

Tags = tuple[tuple[str, str], ...]


def check_tag(key: str, value: str) -> None:
    """Raise InvalidField or LimitExceeded for a tag that no file can hold."""
    check_tags(((key, value),))
    pack_text(TAG, f"{key}={value}")


def retag(
    stream: Readable, change: Callable[[Tags], Tags], name: str = "<stream>"
) -> Iterator[bytes]:
    """Yield the file in `stream`, in blocks, with the tags that `change` makes of its own.

    What is not a tag stays as it is, down to the header's minor version. Bytes after the header
    are not looked at: no offset in a file counts from its start.

    change  called once, with the tags of the file

    Raises, before the first block, the FormatError of a damaged header, or of tags that do not fit.
    """
    source = BufferedStream(stream, name)
    cursor = Cursor(source, "header")
    header = Header.parse(cursor)
    version = source.buffer[len(SIGNATURE)]
    source.drop(cursor.at)
    try:
        changed = replace(header, tags=change(header.tags))
    except FormatError as error:
        raise error.within(name) from None
    yield _pack(changed, version)
    while source.need(CHUNK_BYTES) or source.buffer:
        yield bytes(source.buffer)
        source.drop(len(source.buffer))


def _pack(header: Header, version: int) -> bytes:
    """Return the header's bytes with the version that the file had."""
    packed = bytearray(header.pack()[:-4])
    packed[len(SIGNATURE)] = version
    return bytes(packed + zlib.crc32(packed).to_bytes(4, "little"))
