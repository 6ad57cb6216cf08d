"""An inspection as text, for people."""

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from ncodec.bitstream.inspect import Inspection, PacketFacts
from ncodec.cli.progress import clock
from ncodec.errors import FormatError, ModelMismatch, ModelMissing, plural
from ncodec.formats.ncx import (
    ARCHITECTURES,
    CHANNEL_COPIES,
    EDIT_LIST,
    ENTROPY_CODERS,
    KINDS_OF_PICTURES,
    PICTURE_KIND,
    AnnotatedField,
    Header,
    Picture,
    annotate,
)
from ncodec.formats.streams import View
from ncodec.hub.codecs import find_exact

_SHOWN_BYTES = 12


def as_text(name: str, facts: Inspection) -> Iterator[str]:
    """Yield the lines of the report."""
    header = facts.header
    known = "" if facts.n_samples is not None else ", as far as the packets go"
    n_channels = header.n_output_channels
    channels = {1: "mono", 2: "stereo"}.get(n_channels, f"{n_channels} channels")
    yield printable(
        f"{name}: {clock(facts.duration_s)}{known}, {channels}, {header.source_sample_rate_hz} Hz"
    )
    rows: list[tuple[str, str]] = [
        ("samples", _or_unknown(facts.n_samples)),
        ("model", f"{header.model_id} ({architecture_name(header.architecture)}), weights "
                  f"{header.model_fingerprint.hex()}: {model_state(header)}"),
        ("codec", f"{header.sample_rate_hz} Hz, {header.samples_per_frame} samples per frame, "
                  f"{header.frame_rate_hz:g} frames/s"),
        ("codes", f"{plural(header.n_streams, 'stream')} of "
                  f"{plural(header.n_codebooks, 'codebook')} of {header.codebook_size}"),
        ("entropy coder", _entropy_coder(facts)),
        *([("denoised", "yes")] if facts.denoised else ()),
        *([("channels", f"{n_channels} equal ones, coded as one")] if header.n_copies > 1 else ()),
        *(("tag", printable(f"{key}={value}")) for key, value in header.tags),
        *(("picture", printable(describe(picture))) for picture in header.pictures),
        *(("attachment", f"kind {kind}, {len(content)} bytes")
          for kind, content in header.attachments if kind != PICTURE_KIND),
        *(("edit", text) for text in _edits(header)),
        *(("extension", f"0x{number:02X}, {len(content)} bytes")
          for number, content in header.extensions
          if number != EDIT_LIST and (number != CHANNEL_COPIES or header.n_copies == 1)),
        ("bit rate", _bit_rates(facts)),
        ("bytes", _bytes(facts)),
        ("overhead", f"{facts.overhead_bytes} bytes, {100 * facts.overhead_share:.2f} %"),
        ("packets", _packets(facts)),
        ("bits per code", _bits_per_code(facts)),
    ]  # fmt: skip
    yield from (f"  {title:<14}{text}" for title, text in rows)
    if facts.codebooks:
        yield ""
        yield from _table(
            ("stream", "codebook", "entropy", "codes used"),
            ((f"{book.stream}", f"{book.codebook}", f"{book.entropy_bits:.3f}", f"{book.n_used}")
             for book in facts.codebooks),
        )  # fmt: skip
    yield ""
    yield from _integrity(name, facts)


def _edits(header: Header) -> Iterator[str]:
    """Yield a line for each edit that a file was put together from."""
    start_s = 0.0
    for edit in header.edits:
        length_s = edit.n_samples / header.source_sample_rate_hz
        what = "silence"
        if not edit.is_silence:
            last = edit.first_frame + edit.n_frames - 1
            at_s = edit.first_sample / header.source_sample_rate_hz
            what = f"frames {edit.first_frame} to {last} of their run, from its {clock(at_s)} on"
        yield f"{clock(start_s)} to {clock(start_s + length_s)}: {what}"
        start_s += length_s


def packet_table(facts: Inspection) -> Iterator[str]:
    """Yield the lines of the table of packets."""
    yield ""
    yield from _table(
        ("packet", "offset", "bytes", "payload", "start", "frames", "kbps", "kind"),
        (_packet_row(packet, facts) for packet in facts.packets),
    )


def _packet_row(packet: PacketFacts, facts: Inspection) -> tuple[str, ...]:
    seconds = packet.n_frames / facts.header.frame_rate_hz
    return (
        f"{packet.number}",
        f"{packet.offset}",
        f"{packet.n_bytes}",
        f"{packet.payload_bytes}",
        "?" if packet.start_s is None else clock(packet.start_s),
        f"{packet.n_frames}",
        f"{8 * packet.n_bytes / seconds / 1000:.2f}",
        "dependent" if packet.dependent else "key",
    )


def byte_map(stream: BinaryIO, name: str, file_bytes: int) -> Iterator[str]:
    """Yield a line for every field of the file, and one for what cannot be read after damage."""
    end, section = 0, ""
    try:
        for field in annotate(View(stream, 0), name):
            if field.section != section:
                section = field.section
                yield f"# {section}"
            yield _field_line(stream, field)
            end = field.offset + field.n_bytes
    except FormatError as error:
        yield "# not understood"
        yield f"{end:08X}  {file_bytes - end} bytes: {printable(str(error))}"


def printable(text: str) -> str:
    """Return `text` on one line, with nothing in it that a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def describe(picture: Picture) -> str:
    """Return what a picture is, in words."""
    n = picture.kind
    kind = KINDS_OF_PICTURES[n] if n < len(KINDS_OF_PICTURES) else f"type {n}"
    size = f"{picture.width}x{picture.height}" if picture.width and picture.height else ""
    media_type = picture.media_type or "unknown type"
    shown = (kind, media_type, size, f"{len(picture.data)} bytes", picture.description)
    return ", ".join(part for part in shown if part)


def _integrity(name: str, facts: Inspection) -> Iterator[str]:
    for damage in facts.damage:
        lost = "packets lost: unknown" if damage.missing is None else _lost(damage.missing)
        text = str(damage.error).removeprefix(f"{name}: ")
        yield printable(f"DAMAGED: {text} ({damage.n_bytes} bytes skipped, {lost})")
    if facts.digest == "mismatch":
        yield "DAMAGED: the decoded codes are not those that were encoded: digest differs"
    elif facts.is_whole:
        reason = facts.unchecked_because
        digest = f"codes digest not checked: {reason}" if reason else "codes digest matches"
        yield f"ok: all checksums hold, {digest}"


def _lost(missing: range) -> str:
    if len(missing) <= 1:
        return f"packet {missing.start} lost" if missing else "no packet lost"
    return f"packets {missing.start} to {missing.stop - 1} lost"


def architecture_name(number: int) -> str:
    """Return what NCX.md calls an architecture."""
    return ARCHITECTURES.get(number, f"architecture {number}")


def model_state(header: Header) -> str:
    """Return whether the model that made a file is there: installed, other weights or missing."""
    try:
        find_exact(header.model_id, header.model_fingerprint)
    except ModelMismatch:
        return "other weights"
    except ModelMissing:
        return "missing"
    return "installed"


def _or_unknown(number: int | None) -> str:
    return "unknown" if number is None else str(number)


def _entropy_coder(facts: Inspection) -> str:
    header = facts.header
    name = ENTROPY_CODERS[header.entropy]
    if not header.entropy_model_id:
        return name
    return f"{name} {header.entropy_model_id}, weights {header.entropy_fingerprint.hex()}"


def _bit_rates(facts: Inspection) -> str:
    rates = {
        "nominal": facts.header.bitrate_bps or None,
        "file": facts.bitrate_bps(facts.file_bytes),
        "payload": facts.bitrate_bps(facts.payload_bytes),
    }
    known = [f"{name} {bps / 1000:.2f}" for name, bps in rates.items() if bps is not None]
    return f"{', '.join(known)} kbps" if known else "unknown"


def _bytes(facts: Inspection) -> str:
    parts = {
        "header": facts.header_bytes,
        "attached": facts.attached_bytes,
        "payload": facts.payload_bytes,
        "packet framing": facts.framing_bytes,
        "trailer": facts.trailer_bytes,
        "damaged": facts.damaged_bytes,
    }
    named = (
        f"{name} {size}"
        for name, size in parts.items()
        if size or name not in ("attached", "damaged")
    )
    return f"{facts.file_bytes}: {', '.join(named)}"


def _packets(facts: Inspection) -> str:
    trailer = "with index and trailer" if facts.trailer else "no trailer"
    return f"{len(facts.packets)} of {plural(facts.n_frames, 'frame')} in all, {trailer}"


def _bits_per_code(facts: Inspection) -> str:
    parts = [f"packed {facts.packed_bits}"]
    if facts.spent_bits is not None:
        parts.append(f"spent {facts.spent_bits:.3f}")
    if facts.entropy_bits is not None:
        parts.append(f"order-0 entropy {facts.entropy_bits:.3f}")
    return ", ".join(parts)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    table = [titles, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        yield "  " + "  ".join(cells)


def _field_line(stream: BinaryIO, field: AnnotatedField) -> str:
    stream.seek(field.offset)
    shown = stream.read(min(field.n_bytes, _SHOWN_BYTES)).hex(" ").upper()
    if field.n_bytes > _SHOWN_BYTES:
        shown += " ..."
    width = 3 * _SHOWN_BYTES + 3
    meaning = printable(field.meaning)
    return f"{field.offset:08X}  {shown:<{width}}  {field.name:<21} {meaning}".rstrip()
