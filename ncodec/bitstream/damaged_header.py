"""Reading a file whose header has a damaged byte."""

from collections.abc import Callable

from ncodec.errors import ChecksumMismatch, FormatError
from ncodec.formats.ncx import Damage, Reader
from ncodec.formats.ncx.correction import correct_header
from ncodec.formats.streams import Readable, Replay, View, can_seek

HEAD_BYTES = 70_000  # more than the longest header


def open_corrected(stream: Readable, name: str, on_damage: Callable[[Damage], None]) -> Reader:
    """Return a reader that goes on after damage. One damaged byte of the header is corrected.

    Raises the FormatError of a header that cannot be, and of what is no .ncx file.
    """
    again = View(stream) if can_seek(stream) else Replay(stream)
    try:
        reader = Reader(again, name, on_damage=on_damage)
    except FormatError as error:
        head = again.head(HEAD_BYTES)
        corrected = correct_header(head)
        if corrected is None:
            raise error from None
    else:
        again.forget()
        return reader
    header, at = corrected
    fault = f"{name}: header: byte {at} is {head[at]:02X}, but was {header[at]:02X}"
    on_damage(Damage(at, 1, ChecksumMismatch(fault), range(0)))
    again.rewind((at, header[at]))
    return Reader(again, name, on_damage=on_damage)
