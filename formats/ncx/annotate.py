"""Naming every byte of a file, for people who look at one."""

from collections.abc import Iterator
from dataclasses import dataclass

from ncodec.errors import FormatError, plural
from ncodec.formats.ncx import header_layout as fields
from ncodec.formats.ncx.attachments import ATTACHMENT_KIND, KINDS
from ncodec.formats.ncx.cursor import Mark
from ncodec.formats.ncx.packets import FRAMES_FLAGS, PAYLOAD
from ncodec.formats.ncx.reader import Reader
from ncodec.formats.ncx.trailer import COUNT_FLAGS, MARKER
from ncodec.formats.streams import Readable

_SHOWN_BYTES = 16


@dataclass(frozen=True, slots=True)
class AnnotatedField:
    """One field of a file: where it is, what it is called, what it says."""

    offset: int
    n_bytes: int
    name: str  # as in NCX.md
    meaning: str
    section: str  # "header", "packet 0", ..., "trailer"


def annotate(stream: Readable, name: str = "<stream>") -> Iterator[AnnotatedField]:
    """Yield the fields of a file in order, without holes or overlaps.

    Raises the FormatError of the first damage, once the fields before it have been yielded.
    """
    marks: list[Mark] = []
    section = "header"
    try:
        reader = Reader(stream, name, marks=marks)
        yield from _annotated(marks, section)
        section = "packet 0"
        for packet in reader:
            yield from _annotated(marks, f"packet {packet.number}")
            section = f"packet {packet.number + 1}"
    except FormatError:
        yield from _annotated(marks, section)
        raise
    yield from _annotated(marks, "trailer")


def _annotated(marks: list[Mark], section: str) -> Iterator[AnnotatedField]:
    """Yield and forget `marks`."""
    taken = marks.copy()
    marks.clear()
    if taken and taken[0].field is MARKER:
        section = "trailer"
    n_attachments = 0
    for mark in taken:
        if mark.field is ATTACHMENT_KIND:
            section = f"attachment {n_attachments}"
            n_attachments += 1
        yield AnnotatedField(mark.offset, mark.n_bytes, mark.field.name, _meaning(mark), section)


def _meaning(mark: Mark) -> str:
    """What a field says, in words."""
    value = mark.value
    if isinstance(value, str):
        return value or "same as model_id"
    if isinstance(value, tuple):
        return " ".join(f"{scale:g}" for scale in value)
    if isinstance(value, bytes):
        if mark.field is PAYLOAD:
            return plural(len(value), "byte")
        shown = value[:_SHOWN_BYTES].hex(" ")
        return shown if len(value) <= _SHOWN_BYTES else f"{shown} ... ({len(value)} bytes)"
    return _meaning_of_number(mark, value)


def _meaning_of_number(mark: Mark, value: int) -> str:
    if mark.field.kind == "u32":
        return f"{value:08X}"
    match mark.field.name:
        case fields.VERSION_FIELD.name:
            return f"{value >> 4}.{value & 15}"
        case fields.ARCHITECTURE.name:
            return f"{value} {fields.ARCHITECTURES.get(value, 'private or unknown')}"
        case fields.ENTROPY.name:
            return f"{value} {fields.ENTROPY_CODERS[value]}"
        case fields.SOURCE_SAMPLE_RATE_HZ.name if value == 0:
            return "same as sample_rate_hz"
        case fields.BITRATE_BPS.name if value == 0:
            return "unspecified"
        case fields.N_SAMPLES.name:
            return str(value - 1) if value else "unknown"
        case fields.EXTENSION_ID.name:
            kind = "critical" if value & fields.CRITICAL_BIT else "ignorable"
            return f"0x{value:02X}, {kind}"
        case ATTACHMENT_KIND.name:
            return f"{value} {KINDS.get(value, 'private or unknown')}"
        case FRAMES_FLAGS.name:
            kind = "dependent" if value & 1 else "key"
            return f"{plural(value >> 2, 'frame')}, {kind}" + (", scales" if value & 2 else "")
        case COUNT_FLAGS.name:
            return plural(value >> 3, "packet") + (", uniform" if value & 1 else "")
        case _:
            return str(value)
