"""Other tags and pictures for a file, without encoding it again (NCX.md, section 3)."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from ncodec.errors import FormatError
from ncodec.formats.ncx.attachments import ATTACHED_TAG
from ncodec.formats.ncx.cursor import CHUNK_BYTES, BufferedStream
from ncodec.formats.ncx.header import Header
from ncodec.formats.ncx.layout import pack_text
from ncodec.formats.ncx.pictures import Picture
from ncodec.formats.ncx.signature import SIGNATURE
from ncodec.formats.ncx.tags import Tags, check_tags
from ncodec.formats.streams import Readable

Pictures = tuple[Picture, ...]


def check_tag(key: str, value: str) -> None:
    """Raise InvalidField or LimitExceeded for a tag that no file can hold."""
    check_tags(((key, value),))
    pack_text(ATTACHED_TAG, f"{key}={value}")


def retag(
    stream: Readable, change: Callable[[Tags], Tags], name: str = "<stream>",
    change_pictures: Callable[[Pictures], Pictures] = lambda pictures: pictures,
) -> Iterator[bytes]:  # fmt: skip
    """Yield the file in `stream`, in blocks, with the tags that `change` makes of its own.

    What is neither a tag nor a picture stays as it is, down to the header's minor version, which
    rises only where it must. Packets are not looked at: no offset in a file counts from its start.

    change           called once, with the tags of the file
    change_pictures  called once, with its pictures

    Raises, before the first block, the FormatError of a damaged header or attachment, or of tags
    and pictures that do not fit.
    """
    source = BufferedStream(stream, name)
    source.need(len(SIGNATURE) + 1)
    version = source.buffer[len(SIGNATURE) : len(SIGNATURE) + 1]
    header = Header.read(source)
    try:
        changed = header.with_pictures(change_pictures(header.pictures))
        packed = replace(changed, tags=change(header.tags)).pack(version[0])
    except FormatError as error:
        raise error.within(name) from None
    yield packed
    while source.need(CHUNK_BYTES) or source.buffer:
        yield bytes(source.buffer)
        source.drop(len(source.buffer))
